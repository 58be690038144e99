{%- from 'lib/cluster.jinja' import topology, nodes, me, by_role with context %}
{%- from 'lb/map.jinja' import lb, interface, prefix, priority, fault with context %}

include:
  - lb.haproxy
  - lb.guard

What keepalived would refuse can be told:
  file.managed:
    - name: /usr/local/sbin/check-keepalived-config
    - source: salt://lb/files/check-keepalived-config
    - mode: '0755'

keepalived can ask HAProxy whether it is alive:
  file.managed:
    - name: /usr/local/sbin/check-haproxy
    - source: salt://lb/files/check-haproxy
    - mode: '0755'

keepalived is confined, and leaves no address behind:
  file.managed:
    - name: /etc/systemd/system/keepalived.service.d/counterapp.conf
    - source: salt://lb/files/keepalived.service.conf.jinja
    - template: jinja
    - context:
        interface: {{ interface }}
        vip: {{ topology.vip }}
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True

systemd knows the bounds of keepalived:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: keepalived is confined, and leaves no address behind

keepalived is configured:
  file.managed:
    - name: /etc/keepalived/keepalived.conf
    - source: salt://lb/files/keepalived.conf.jinja
    - template: jinja
    - context:
        vrrp: {{ lb.vrrp | json }}
        alive_port: {{ lb.metrics_port }}
        interface: {{ interface }}
        address: {{ me.address }}
        priority: {{ priority }}
        vip: {{ topology.vip }}/{{ prefix }}
        fault: {{ (fault if by_role.lb | length > 1 else none) | json }}
        peers:
{%- for id in by_role.lb if id != grains.id %}
          - {{ nodes[id].address }}
{%- else %} []
{%- endfor %}
    - user: root
    - group: root
    - mode: '0644'
    - check_cmd: /usr/local/sbin/check-keepalived-config
    - require:
      - file: What keepalived would refuse can be told
      - file: keepalived can ask HAProxy whether it is alive
      - pkg: Balancer and VRRP daemon are installed
      - sls: lb.guard

# A reload would leave it in the bounds that it was started in.
keepalived has started within its bounds:
  service.running:
    - name: keepalived
    - enable: True
    - require:
      - service: HAProxy runs
      - module: systemd knows the bounds of keepalived
      - file: keepalived is configured
    - watch:
      - file: keepalived is confined, and leaves no address behind

keepalived runs:
  service.running:
    - name: keepalived
    - enable: True
    - reload: True
    - require:
      - service: keepalived has started within its bounds
    - watch:
      - file: keepalived is configured
