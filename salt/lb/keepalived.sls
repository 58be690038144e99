{%- from 'lib/require.jinja' import require_secrets with context %}
{%- from 'lib/cluster.jinja' import topology, nodes, me, by_role with context %}
{%- from 'lb/map.jinja' import lb, interface, prefix, priority with context %}
{{- require_secrets(['vrrp']) }}

include:
  - lb.haproxy

What keepalived would refuse can be told:
  file.managed:
    - name: /usr/local/sbin/check-keepalived-config
    - source: salt://lb/files/check-keepalived-config
    - mode: '0755'

keepalived is configured:
  file.managed:
    - name: /etc/keepalived/keepalived.conf
    - source: salt://lb/files/keepalived.conf.jinja
    - template: jinja
    - context:
        vrrp: {{ lb.vrrp | json }}
        port: {{ lb.frontend_port }}
        interface: {{ interface }}
        address: {{ me.address }}
        priority: {{ priority }}
        vip: {{ topology.vip }}/{{ prefix }}
        peers:
{%- for id in by_role.lb if id != grains.id %}
          - {{ nodes[id].address }}
{%- else %} []
{%- endfor %}
    - user: root
    - group: root
    - mode: '0600'
    - show_changes: False
    - check_cmd: /usr/local/sbin/check-keepalived-config
    - require:
      - file: What keepalived would refuse can be told
      - pkg: Balancer and VRRP daemon are installed

keepalived runs:
  service.running:
    - name: keepalived
    - enable: True
    - reload: True
    - require:
      - service: HAProxy runs
    - watch:
      - file: keepalived is configured
