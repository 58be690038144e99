{%- from 'gluster/map.jinja' import gluster with context %}

include:
  - base.hosts
  - storage.install

# A certificate that was renewed is not watched: glusterd goes on with the one it began with, and
# a restart takes the bricks of the node down for a moment.
Gluster's daemon runs:
  service.running:
    - name: glusterd
    - enable: True
    - require:
      # A pool knows its members by name as well, also to a node that is new to it.
      - sls: base.hosts
      - sls: gluster.tls
      - pkg: Gluster's server is installed
      - file: The brick has a place
    - watch:
      - file: Gluster's management speaks {{ 'TLS' if gluster.tls else 'in clear' }}
