{%- from 'lib/cluster.jinja' import me with context %}
{%- from 'gluster/map.jinja' import os, packages with context %}

include:
  - gluster.tls

{%- if os.repositories %}

Gluster's package repository is known:
  pkg.installed:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - pkgs: {{ os.repositories | json }}
    - require:
      - sls: gluster.tls
    - require_in:
      - pkg: Gluster's client is installed
{%- endif %}

Gluster's client is installed:
  pkg.installed:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - pkgs: {{ packages | json }}
    - refresh: {{ os.repositories | length > 0 }}
    - install_recommends: False
    - require:
      - sls: gluster.tls
