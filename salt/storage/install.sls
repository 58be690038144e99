{%- from 'storage/map.jinja' import packages, gluster with context %}
{%- from 'gluster/map.jinja' import os with context %}

include:
  - gluster.install

Gluster's server is installed:
  pkg.installed:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - pkgs: {{ packages | json }}
    - refresh: False
    - install_recommends: False
    - require:
      - pkg: Gluster's client is installed

# Only the parent: Gluster makes the brick itself, and must not find one where a disk is missing.
# Root's alone: what root of any node makes on the volume lies here without the mount's nosuid.
The brick has a place:
  file.directory:
    - name: {{ salt['file.dirname'](gluster.brick) }}
    - user: root
    - group: root
    - mode: '0700'
    - makedirs: True
