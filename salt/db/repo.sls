{%- from 'lib/require.jinja' import require with context %}
{%- from 'db/map.jinja' import os, install with context %}
{{- require(['mongodb:install:repo_series', 'mongodb:install:repo_least'],
            'set it in pillar/mongodb.sls, as `install: source: repo` wants it') }}
{%- set series = install.repo_series %}
{%- set key = 'https://pgp.mongodb.com/server-' ~ series ~ '.asc' %}

{%- if grains.os_family == 'Debian' %}
{%- set suite = grains.oscodename %}
{%- set area = 'multiverse' if grains.os == 'Ubuntu' else 'main' %}

MongoDB's package repository is known:
  pkgrepo.managed:
    - name: >-
        deb [signed-by=/usr/share/keyrings/mongodb-server-{{ series }}.asc]
        https://repo.mongodb.org/apt/{{ grains.os | lower }}
        {{ suite }}/mongodb-org/{{ series }} {{ area }}
    - file: /etc/apt/sources.list.d/mongodb-org-{{ series }}.list
    - key_url: {{ key }}
    - aptkey: False
    - require_in:
      - pkg: mongod is installed
{%- else %}

MongoDB's package repository is known:
  pkgrepo.managed:
    - name: mongodb-org-{{ series }}
    - humanname: MongoDB {{ series }}
    - baseurl: https://repo.mongodb.org/yum/redhat/$releasever/mongodb-org/{{ series }}/$basearch/
    - gpgcheck: 1
    - gpgkey: {{ key }}
    - require_in:
      - pkg: mongod is installed
{%- endif %}

# The packages make the account that the rest of this role uses.
mongod is installed:
  pkg.installed:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - name: mongodb-org-server
    - version: '>={{ install.repo_least }}'
    - refresh: True

The account of mongod exists:
  user.present:
    - name: {{ os.user }}
    - require:
      - pkg: mongod is installed
