{%- from 'lib/require.jinja' import require, require_secrets with context %}
{%- from 'lib/cluster.jinja' import me with context %}
{%- from 'web/map.jinja' import web, service, environment with context %}
{{- require(['mongodb:replica_set', 'mongodb:port', 'mongodb:app_user', 'mongodb:app_database'],
            'set it in pillar/mongodb.sls') }}
{{- require_secrets(['mongodb_app', 'counterapp_operator']) }}

The account of the application exists:
  user.present:
    - name: {{ web.user }}
    - system: True
    - usergroup: True
    - home: {{ web.root }}
    - createhome: False
    - shell: /usr/sbin/nologin

The configuration folder of the application exists:
  file.directory:
    - name: {{ salt['file.dirname'](environment) }}
    - user: root
    - group: root
    - mode: '0755'

# Root's, and readable by the application's group: the process may know its password, not change it.
The application is configured:
  file.managed:
    - name: {{ environment }}
    - source: salt://web/files/counterapp.env.jinja
    - template: jinja
    - user: root
    - group: {{ web.user }}
    - mode: '0640'
    - show_changes: False
    - require:
      - user: The account of the application exists
      - file: The configuration folder of the application exists

The unit of the application is known:
  file.managed:
    - name: /etc/systemd/system/{{ service }}.service
    - source: salt://web/files/counterapp.service.jinja
    - template: jinja
    - context:
        web: {{ web | json }}
        environment: {{ environment }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
      - file: The application is configured
