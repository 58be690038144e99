{%- from 'web/map.jinja' import web, os, service, release, current, archive, note with context %}

include:
  - web.install
  - web.config

# Reads the volume only when the release is not unpacked yet.
The release is installed:
  counterapp.released:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - name: {{ release | json }}
    - source: {{ archive }}
    - sha256: {{ note.get('sha256') | json }}
    - size: {{ note.get('size') | json }}
    - root: {{ web.root }}
    - python: {{ os.python }}
    - user: {{ web.user }}
    - require:
      - pkg: The interpreter of the releases is installed
      - user: The account of the application exists

The application starts with the node:
  service.enabled:
    - name: {{ service }}
    - require:
      - file: The unit of the application is known

{%- if current == release %}

# Here only where the release stays: with a new one the switch below restarts the service anyway.
The application follows its settings:
  service.running:
    - name: {{ service }}
    - require:
      - counterapp: The release is installed
    - require_in:
      - counterapp: The release is active
    - watch:
      - file: The application is configured
      - file: The unit of the application is known
{%- endif %}

The release is active:
  counterapp.active:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - name: {{ release | json }}
    - service: {{ service }}
    - root: {{ web.root }}
    - ready_timeout: {{ web.ready_timeout }}
    - require:
      - counterapp: The release is installed
      - file: The application is configured
      - file: The unit of the application is known

Old releases are gone:
  counterapp.pruned:
    - keep: {{ web.keep_releases }}
    - root: {{ web.root }}
    - require:
      - counterapp: The release is active
