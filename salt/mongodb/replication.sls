{%- from 'lib/require.jinja' import require_secrets with context %}
{%- from 'lib/cluster.jinja' import me with context %}
{%- from 'mongodb/map.jinja' import mongodb, members with context %}
{{- require_secrets(['mongodb_admin', 'mongodb_app']) }}

include:
  - mongodb.service

# Declared on every member; only the first of the topology may make a set that does not exist.
The replica set exists:
  mongodb.replica_set_present:
    - name: {{ mongodb.replica_set }}
    - members: {{ members | json }}
    - initiator: {{ members[0] }}
    - require:
      - service: mongod runs

The administrator of the database exists:
  mongodb.user_present:
    - name: {{ mongodb.admin_user }}
    - database: admin
    - roles:
      - root
    - password_pillar: secrets:mongodb_admin
    - admin: True
    - require:
      - mongodb: The replica set exists

The application's user exists:
  mongodb.user_present:
    - name: {{ mongodb.app_user }}
    - database: {{ mongodb.app_database }}
    - roles:
      - readWrite
    - password_pillar: secrets:mongodb_app
    - require:
      - mongodb: The administrator of the database exists
