{%- from 'lb/map.jinja' import packages with context %}

Balancer and VRRP daemon are installed:
  pkg.installed:
    - pkgs: {{ packages | json }}
    - refresh: False
    - install_recommends: False
