{%- from 'gluster/map.jinja' import gluster with context %}

include:
  - base.hosts
  - storage.install

# Restart= holds from the next look of systemd's on, the sandbox from glusterd's next start: to
# start it for that would take the bricks of the node down.
Gluster's daemon is confined, and comes back:
  file.managed:
    - name: /etc/systemd/system/glusterd.service.d/counterapp.conf
    - source: salt://storage/files/glusterd.service.conf
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True

What is missing of the volume here can be started:
  file.managed:
    - name: /etc/systemd/system/counterapp-bricks.service
    - source: salt://storage/files/counterapp-bricks.service.jinja
    - template: jinja
    - context:
        volume: {{ gluster.volume }}
    - user: root
    - group: root
    - mode: '0644'

systemd knows how Gluster's daemons come back:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: Gluster's daemon is confined, and comes back
      - file: What is missing of the volume here can be started

# A certificate that was renewed is not watched: Gluster takes it for each new connection, and a
# restart takes the bricks of the node down for a moment.
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
      - module: systemd knows how Gluster's daemons come back
    - watch:
      - file: Gluster's management speaks {{ 'TLS' if gluster.tls else 'in clear' }}
