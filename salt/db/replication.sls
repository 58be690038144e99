{%- from 'lib/require.jinja' import require_secrets with context %}
{%- from 'lib/cluster.jinja' import me with context %}
{%- from 'db/map.jinja' import mongodb, members, leaving_members with context %}
{{- require_secrets(['mongodb_admin', 'mongodb_app', 'mongodb_health', 'mongodb_backup']) }}
{%- set app = mongodb.app_database %}

include:
  - db.service

# Declared on every member; only the first of the topology may make a set that does not exist.
The replica set exists:
  mongodb.replica_set_present:
    - fire_event: progress
    - name: {{ mongodb.replica_set }}
    - members: {{ members | json }}
    - leaving: {{ leaving_members | json }}
    - initiator: {{ members[0] }}
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

Who looks at the replica set exists:
  mongodb.user_present:
    - name: {{ mongodb.health_user }}
    - database: admin
    - roles:
      - clusterMonitor
      - oplogReader
    - mechanisms: [SCRAM-SHA-256]
    - password_pillar: secrets:mongodb_health
    - require:
      - mongodb: Who looks at the replica set may read its oplog

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

Who makes backups exists:
  mongodb.user_present:
    - name: {{ mongodb.backup_user }}
    - database: admin
    - roles:
      - backup
      - replicaSetReader
    - mechanisms: [SCRAM-SHA-256]
    - password_pillar: secrets:mongodb_backup
    - require:
      - mongodb: Who makes backups may know the replica set

# What the application does and no more: it drops nothing, and sees no other collection.
The application may do its work:
  mongodb.role_present:
    - name: {{ mongodb.app_user }}
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

The application's user exists:
  mongodb.user_present:
    - name: {{ mongodb.app_user }}
    - database: {{ app }}
    - roles:
      - {{ mongodb.app_user }}
    - mechanisms: [SCRAM-SHA-256]
    - password_pillar: secrets:mongodb_app
    - require:
      - mongodb: The application may do its work
