{%- from 'db/map.jinja' import packages, install with context %}

include:
  - db.{{ install.source }}

What mongod needs is installed:
  pkg.installed:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - pkgs: {{ packages | json }}
    - refresh: False
    - install_recommends: False
