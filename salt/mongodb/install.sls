{%- from 'mongodb/map.jinja' import packages, install with context %}

include:
  - mongodb.{{ install.source }}

What mongod needs is installed:
  pkg.installed:
    - pkgs: {{ packages | json }}
    - refresh: False
    - install_recommends: False
