{%- from 'lb/map.jinja' import packages with context %}

Balancer and VRRP daemon are installed:
  pkg.installed:
    - fire_event: progress
    - pkgs: {{ packages | json }}
    - refresh: False
    - install_recommends: False
