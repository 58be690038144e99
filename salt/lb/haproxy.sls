{%- from 'lib/cluster.jinja' import nodes, by_role with context %}
{%- from 'lb/map.jinja' import lb, web, server_state with context %}

include:
  - lb.install

HAProxy keeps what it knows of its servers over a reload:
  file.managed:
    - name: /etc/systemd/system/haproxy.service.d/counterapp.conf
    - source: salt://lb/files/haproxy.service.conf.jinja
    - template: jinja
    - context:
        socket: {{ lb.socket }}
        server_state: {{ server_state }}
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True

HAProxy is configured:
  file.managed:
    - name: /etc/haproxy/haproxy.cfg
    - source: salt://lb/files/haproxy.cfg.jinja
    - template: jinja
    - context:
        lb: {{ lb | json }}
        port: {{ web.port }}
        server_state: {{ server_state }}
        servers:
{%- for id in by_role.web %}
          {{ id }}: {{ nodes[id].address }}
{%- endfor %}
    - user: root
    - group: root
    - mode: '0644'
    # A configuration that HAProxy does not accept never takes the place of a good one.
    - check_cmd: /usr/sbin/haproxy -c -f
    - require:
      - pkg: Balancer and VRRP daemon are installed

{%- if grains.get('selinux', {}).get('enabled') %}

HAProxy may connect to the web nodes:
  selinux.boolean:
    - name: haproxy_connect_any
    - value: True
    - persist: True
    - require:
      - pkg: Balancer and VRRP daemon are installed
    - require_in:
      - service: HAProxy runs
{%- endif %}

# Reloads, so that no connection is dropped.
HAProxy runs:
  service.running:
    - name: haproxy
    - enable: True
    - reload: True
    - watch:
      - file: HAProxy keeps what it knows of its servers over a reload
      - file: HAProxy is configured
