{%- from 'lib/cluster.jinja' import topology, nodes, by_role with context %}
{%- from 'lb/map.jinja' import lb, web, interface, fault with context %}
{%- set others = by_role.lb | reject('equalto', grains.id) | list %}

include:
  - lb.install
{%- if others %}

The guard of the VIP is installed:
  file.managed:
    - name: /usr/local/sbin/vip-guard
    - source: salt://lb/files/vip-guard.py
    - user: root
    - group: root
    - mode: '0755'

The unit of the guard of the VIP is known:
  file.managed:
    - name: /etc/systemd/system/vip-guard.service
    - source: salt://lb/files/vip-guard.service.jinja
    - template: jinja
    - context:
        vip: {{ topology.vip }}
        interface: {{ interface }}
        router: {{ lb.vrrp.id }}
        # Another balancer is about to take it then. The guard counts by tenths of a second.
        silence: {{ [0.5, (lb.vrrp.interval * (lb.vrrp.missed - 0.5)) | round(3)] | max }}
        alive_port: {{ lb.metrics_port }}
        fault: {{ fault }}
        others:
{%- for id in by_role.get('web', []) if id != grains.id %}
          - [{{ nodes[id].address }}, {{ web.port }}]
{%- endfor %}
{%- for id in others %}
          - [{{ nodes[id].address }}, {{ lb.metrics_port }}]
{%- endfor %}
        balancers:
{%- for id in others %}
          - {{ nodes[id].address }}
{%- endfor %}
    - user: root
    - group: root
    - mode: '0644'

systemd knows the unit of the guard of the VIP:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: The unit of the guard of the VIP is known

The VIP is guarded:
  service.running:
    - name: vip-guard
    - enable: True
    - require:
      - module: systemd knows the unit of the guard of the VIP
    - watch:
      - file: The guard of the VIP is installed
      - file: The unit of the guard of the VIP is known
{%- else %}

# There is nobody to give the VIP to.
The only balancer keeps the VIP whatever it does:
  service.dead:
    - name: vip-guard
    - enable: False
{%- endif %}
