{%- from 'base/map.jinja' import packages with context %}

Packages of every node are installed:
  pkg.installed:
    - fire_event: progress
    - pkgs: {{ packages | json }}
    - refresh: False
    - install_recommends: False
