{%- from 'lib/cluster.jinja' import me with context %}
{%- from 'gluster/map.jinja' import gluster, home with context %}
{%- import_yaml 'base/watch.yaml' as units_by_role %}
{%- set units = {} %}
{%- for role in ['every'] + me.roles %}
{%-   do units.update(units_by_role.get(role, {})) %}
{%- endfor %}
{%- set volume = none %}
{%- if 'storage' in me.roles %}
{%-   set volume = {
  'name': gluster.volume,
  'home': home,
  'host': me.address,
  'path': gluster.brick,
  'remedy': 'counterapp-bricks.service',
} %}
{%- endif %}

The watch over daemons is installed:
  file.managed:
    - name: /usr/local/sbin/counterapp-watch
    - source: salt://base/files/watch.py
    - user: root
    - group: root
    - mode: '0755'

The watch over daemons knows those of this node:
  file.serialize:
    - name: /etc/counterapp/watch.json
    - dataset:
        units: {{ units | json }}
        volume: {{ volume | json }}
        mount: {{ gluster.mount | json }}
    - serializer: json
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    - dir_mode: '0755'

The unit of the watch over daemons is known:
  file.managed:
    - name: /etc/systemd/system/counterapp-watch.service
    - source: salt://base/files/counterapp-watch.service
    - user: root
    - group: root
    - mode: '0644'

systemd knows the unit of the watch over daemons:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: The unit of the watch over daemons is known

The watch over daemons is kept:
  service.running:
    - name: counterapp-watch
    - enable: True
    - require:
      - module: systemd knows the unit of the watch over daemons
    - watch:
      - file: The watch over daemons is installed
      - file: The watch over daemons knows those of this node
      - file: The unit of the watch over daemons is known
