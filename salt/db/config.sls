{%- from 'lib/require.jinja' import require_secrets with context %}
{%- from 'lib/cluster.jinja' import me, container with context %}
{%- from 'db/map.jinja' import mongodb, os, config, keyfile with context %}
{{- require_secrets(['mongodb_keyfile']) }}

include:
  - db.install

The data folder of mongod is its own:
  file.directory:
    - name: {{ mongodb.dbpath }}
    - user: {{ os.user }}
    - group: {{ os.group }}
    - mode: '0700'
    - makedirs: True
    - require:
      - user: The account of mongod exists

The configuration folder of mongod exists:
  file.directory:
    - name: {{ salt['file.dirname'](keyfile) }}
    - user: root
    - group: {{ os.group }}
    - mode: '0750'
    - require:
      - user: The account of mongod exists

The members of the replica set trust each other by a key:
  file.managed:
    - name: {{ keyfile }}
    - contents_pillar: secrets:mongodb_keyfile
    - show_changes: False
    - user: {{ os.user }}
    - group: {{ os.group }}
    - mode: '0400'
    - require:
      - file: The configuration folder of mongod exists

mongod is configured:
  file.managed:
    - name: {{ config }}
    - source: salt://db/files/mongod.conf.jinja
    - template: jinja
    - context:
        address: {{ me.address }}
        keyfile: {{ keyfile }}
        mongodb: {{ mongodb | json }}
    - user: root
    - group: {{ os.group }}
    - mode: '0640'
    - require:
      - user: The account of mongod exists

{%- if not container %}

# WiredTiger maps many files.
mongod may map its files:
  sysctl.present:
    - name: vm.max_map_count
    - value: 262144
{%- endif %}
