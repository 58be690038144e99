{%- from 'base/map.jinja' import packages with context %}

Packages of every node are installed:
  pkg.installed:
    - pkgs: {{ packages | json }}
    - refresh: False
    - install_recommends: False
