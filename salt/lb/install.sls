{%- from 'lb/map.jinja' import packages with context %}

Balancer and VRRP daemon are installed:
  pkg.installed:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - pkgs: {{ packages | json }}
    - refresh: False
    - install_recommends: False
