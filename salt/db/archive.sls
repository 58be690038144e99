{%- from 'lib/require.jinja' import require_secrets with context %}
{%- from 'lib/cluster.jinja' import nodes with context %}
{%- from 'gluster/map.jinja' import gluster with context %}
{%- from 'db/map.jinja' import mongodb, archive with context %}
{%- set service = 'mongodb-archive' %}
{%- set home = '/usr/local/lib/' ~ service %}
{%- set settings = '/etc/' ~ service %}
{%- set mount = none %}
{%- if archive.folder.startswith(gluster.mount ~ '/') %}
{#- As systemd-escape --path has it. #}
{%-   set mount = gluster.mount[1:] | replace('-', '\\x2d') | replace('/', '-') ~ '.mount' %}
{%- endif %}
{#- A machine that is its whole fleet has no volume. #}
{%- if archive.enabled and not (mount and nodes | length == 1) %}
{{- require_secrets(['mongodb_backup']) }}

include:
  - db.replication

# Of its own: those of the minion are replaced while it runs, and may be gone for a while.
The modules that keep the oplog are installed:
  file.recurse:
    - name: {{ home }}/utils
    - source: salt://_utils
    - include_pat: mongodb*.py
    - clean: True
    - user: root
    - group: root
    - dir_mode: '0755'
    - file_mode: '0644'

The module that keeps the oplog is installed:
  file.managed:
    - name: {{ home }}/modules/mongodb_archive.py
    - source: salt://_modules/mongodb_archive.py
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    - dir_mode: '0755'

The configuration folder of the archive exists:
  file.directory:
    - name: {{ settings }}/pillar
    - user: root
    - group: root
    - mode: '0700'
    - makedirs: True

The archive is configured:
  file.managed:
    - name: {{ settings }}/minion
    - source: salt://db/files/archive-minion.jinja
    - template: jinja
    - context:
        home: {{ home }}
        settings: {{ settings }}
        service: {{ service }}
        mongodb: {{ mongodb | json }}
    - user: root
    - group: root
    - mode: '0600'
    - require:
      - file: The configuration folder of the archive exists

What the archive is told as its pillar:
  file.serialize:
    - name: {{ settings }}/pillar/top.sls
    - dataset:
        base:
          '*':
            - login
    - serializer: yaml
    - user: root
    - group: root
    - mode: '0600'
    - require:
      - file: The configuration folder of the archive exists

The archive knows its login:
  file.managed:
    - name: {{ settings }}/pillar/login.sls
    - source: salt://db/files/archive-login.jinja
    - template: jinja
    - show_changes: False
    - user: root
    - group: root
    - mode: '0600'
    - require:
      - file: The configuration folder of the archive exists

# On the volume, and never below it.
The folder of the archive exists:
  {{ 'gluster' if mount else 'file' }}.directory:
    - name: {{ archive.folder }}
{%- if mount %}
    - mount: {{ gluster.mount }}
{%- endif %}
    - user: root
    - group: root
    - mode: '0700'

The unit of the archive is known:
  file.managed:
    - name: /etc/systemd/system/{{ service }}.service
    - source: salt://db/files/mongodb-archive.service.jinja
    - template: jinja
    - context:
        settings: {{ settings }}
        service: {{ service }}
        archive: {{ archive | json }}
        mount: {{ mount | json }}
        writable: {{ gluster.mount if mount else archive.folder }}
    - user: root
    - group: root
    - mode: '0644'

# Another node keeps the oplog meanwhile, so that nothing is missed.
The oplog is kept:
  service.running:
    - name: {{ service }}
    - enable: True
    - require:
      - mongodb: Who makes backups exists
      - {{ 'gluster' if mount else 'file' }}: The folder of the archive exists
    - watch:
      - file: The modules that keep the oplog are installed
      - file: The module that keeps the oplog is installed
      - file: The archive is configured
      - file: What the archive is told as its pillar
      - file: The archive knows its login
      - file: The unit of the archive is known
{%- else %}

The oplog is not kept:
  service.dead:
    - name: {{ service }}
    - enable: False
{%- endif %}
