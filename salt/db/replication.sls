{%- from 'lib/require.jinja' import require_secrets with context %}
{%- from 'lib/cluster.jinja' import me with context %}
{%- from 'db/map.jinja' import mongodb, members, leaving_members with context %}
{{- require_secrets(['mongodb_admin', 'mongodb_app', 'mongodb_health', 'mongodb_backup']) }}
{%- set app = mongodb.app_database %}
{#- A password is rotated by way of a second user, who has the new one: while both are good, both are
    declared, and at any moment applying this alters nothing (fleet/rotation/users.py). -#}
{%- set coming = mongodb.get('coming') or {} %}
{%- set logins = {} %}
{%- for user in ('health', 'backup', 'app') %}
  {%- set key = user ~ '_user' %}
  {%- do logins.update({user: [(mongodb[key], 'secrets:mongodb_' ~ user)]}) %}
  {%- if coming.get(key, mongodb[key]) != mongodb[key] %}
    {%- do logins[user].append((coming[key], 'secrets:coming:mongodb_' ~ user)) %}
  {%- endif %}
{%- endfor %}

include:
  - db.service

# Declared on every member; only the first of the topology may make a set that does not exist.
The replica set exists:
  mongodb.replica_set_present:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - name: {{ mongodb.replica_set }}
    - members: {{ members | json }}
    - leaving: {{ leaving_members | json }}
    - own_settings: True
    - initiator: {{ members[0].host }}
    - data_timeout: {{ mongodb.get('data_timeout', 3600) }}
    - require:
      - service: mongod runs

The administrator of the database exists:
  mongodb.user_present:
    - name: {{ mongodb.admin_user }}
    - database: admin
    - roles:
      - root
    - mechanisms: [SCRAM-SHA-256]
    - password_pillar: secrets:mongodb_admin
    - admin: True
    - require:
      - mongodb: The replica set exists
{%- if mongodb.get('settings') %}

# Of the whole set: the first member on which this runs has it changed, the others find it so.
The replica set has its settings:
  mongodb.replica_set_settings:
    - name: {{ mongodb.replica_set }}
    - settings: {{ mongodb.settings | json }}
    - require:
      - mongodb: The administrator of the database exists
{%- endif %}
{%- if coming.get('admin_user', mongodb.admin_user) != mongodb.admin_user %}

The administrator to come exists:
  mongodb.user_present:
    - name: {{ coming.admin_user }}
    - database: admin
    - roles:
      - root
    - mechanisms: [SCRAM-SHA-256]
    - password_pillar: secrets:coming:mongodb_admin
    - require:
      - mongodb: The administrator of the database exists
{%- endif %}

# How far a member is behind is the age of the oldest write that it lacks, which the oplog tells.
Who looks at the replica set may read its oplog:
  mongodb.role_present:
    - name: oplogReader
    - database: admin
    - privileges:
      - resource: {db: local, collection: oplog.rs}
        actions: [find]
    - require:
      - mongodb: The administrator of the database exists
{%- for name, password in logins.health %}

Who looks at the replica set exists{{ '' if loop.first else ', with the password to come' }}:
  mongodb.user_present:
    - name: {{ name }}
    - database: admin
    - roles:
      - clusterMonitor
      - oplogReader
    - mechanisms: [SCRAM-SHA-256]
    - password_pillar: {{ password }}
    - require:
      - mongodb: Who looks at the replica set may read its oplog
{%- endfor %}

# Of which set a backup is.
Who makes backups may know the replica set:
  mongodb.role_present:
    - name: replicaSetReader
    - database: admin
    - privileges:
      - resource: {cluster: true}
        actions: [replSetGetConfig]
    - require:
      - mongodb: The administrator of the database exists
{%- for name, password in logins.backup %}

Who makes backups exists{{ '' if loop.first else ', with the password to come' }}:
  mongodb.user_present:
    - name: {{ name }}
    - database: admin
    - roles:
      - backup
      - replicaSetReader
    - mechanisms: [SCRAM-SHA-256]
    - password_pillar: {{ password }}
    - require:
      - mongodb: Who makes backups may know the replica set
{%- endfor %}

# What the application does and no more: it drops nothing, and sees no other collection. Its users,
# one after the other, have the same role.
{%- set role = mongodb.app_user.removesuffix('-b') %}
The application may do its work:
  mongodb.role_present:
    - name: {{ role }}
    - database: {{ app }}
    - privileges:
      - resource: {db: {{ app }}, collection: counters}
        actions: [find, insert, update, remove, createIndex, changeStream]
      - resource: {db: {{ app }}, collection: idempotency}
        actions: [find, insert, update, remove, createIndex]
      - resource: {db: {{ app }}, collection: readiness}
        actions: [insert, update]
    - require:
      - mongodb: The administrator of the database exists
{%- for name, password in logins.app %}

The application's user exists{{ '' if loop.first else ', with the password to come' }}:
  mongodb.user_present:
    - name: {{ name }}
    - database: {{ app }}
    - roles:
      - {{ role }}
    - mechanisms: [SCRAM-SHA-256]
    - password_pillar: {{ password }}
    - require:
      - mongodb: The application may do its work
{%- endfor %}
