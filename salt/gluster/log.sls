{%- from 'gluster/map.jinja' import gluster, os with context %}

include:
  - gluster.install

# In the place of the package's own file: logrotate refuses a log that has two entries.
Gluster's logs are rotated:
  file.managed:
    - name: {{ os.logrotate }}
    - source: salt://gluster/files/logrotate.jinja
    - template: jinja
    - context:
        log: {{ gluster.log | json }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
      - pkg: Gluster's client is installed

# Once a day, as it comes, would let a log grow all day whatever its limit. What other files say
# (daily, weekly) holds as before.
Logs are looked at each hour:
  file.managed:
    - name: /etc/systemd/system/logrotate.timer.d/hourly.conf
    - contents: |
        # Written by Salt.
        [Timer]
        OnCalendar=
        OnCalendar=hourly
        AccuracySec=5m
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True

systemd knows when logs are looked at:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: Logs are looked at each hour

The timer of logrotate runs:
  service.running:
    - name: logrotate.timer
    - enable: True
    - require:
      - pkg: Gluster's client is installed
      - module: systemd knows when logs are looked at
    - watch:
      - file: Logs are looked at each hour
