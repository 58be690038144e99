{%- from 'base/map.jinja' import os with context %}

The keeper of the clock is installed:
  pkg.installed:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - name: {{ os.clock.package }}
    - refresh: False
    - install_recommends: False

# With its distribution's servers: a network without a way to them has its own put into chrony.conf.
The clock is kept:
  service.running:
    - name: {{ os.clock.service }}
    - enable: True
    - require:
      - pkg: The keeper of the clock is installed
