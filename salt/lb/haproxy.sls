{%- from 'lib/cluster.jinja' import topology, nodes, me, by_role with context %}
{%- from 'lb/map.jinja' import lb, web, home, server_state, save, answers, certificate, exempt with context %}

include:
  - lb.install

What HAProxy knows of its servers can be kept:
  file.managed:
    - name: {{ save }}
    - source: salt://lb/files/save-haproxy-state
    - user: root
    - group: root
    - mode: '0755'

HAProxy is confined, and keeps what it knows of its servers over a reload:
  file.managed:
    - name: /etc/systemd/system/haproxy.service.d/counterapp.conf
    - source: salt://lb/files/haproxy.service.conf.jinja
    - template: jinja
    - context:
        socket: {{ lb.socket }}
        home: {{ home }}
        server_state: {{ server_state }}
        save: {{ save }}
        maxconn: {{ lb.maxconn }}
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True

# Of a folder that it has not seen yet systemd does not say that it wants a reload.
systemd knows the bounds of HAProxy:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: HAProxy is confined, and keeps what it knows of its servers over a reload

HAProxy has something to say where no server does:
  file.managed:
    - name: {{ answers }}
    - source: salt://lb/files/answers.map.jinja
    - template: jinja
    - context:
        limits: {{ lb.limits | json }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
      - pkg: Balancer and VRRP daemon are installed

{%- if lb.https.enabled %}

HAProxy has the certificate of the VIP:
  file.managed:
    - name: {{ certificate }}
    - contents_pillar: secrets:https_certificate
    - show_changes: False
    - user: root
    - group: root
    - mode: '0600'
    - require:
      - pkg: Balancer and VRRP daemon are installed
    - require_in:
      - file: HAProxy is configured
{%- endif %}

HAProxy is configured:
  file.managed:
    - name: /etc/haproxy/haproxy.cfg
    - source: salt://lb/files/haproxy.cfg.jinja
    - template: jinja
    - context:
        lb: {{ lb | json }}
        vip: {{ topology.vip }}
        address: {{ me.address }}
        port: {{ web.port }}
        home: {{ home }}
        server_state: {{ server_state }}
        answers: {{ answers }}
        certificate: {{ certificate }}
        exempt: {{ exempt | json }}
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
      - file: HAProxy has something to say where no server does

{%- if grains.get('selinux', {}).get('enabled') %}

HAProxy may connect to the web nodes:
  selinux.boolean:
    - name: haproxy_connect_any
    - value: True
    - persist: True
    - require:
      - pkg: Balancer and VRRP daemon are installed
    - require_in:
      - service: HAProxy has started within its bounds
{%- endif %}

# A reload would leave the master process in the bounds that it was started in.
HAProxy has started within its bounds:
  service.running:
    - name: haproxy
    - enable: True
    - require:
      - module: systemd knows the bounds of HAProxy
      - file: HAProxy is configured
    - watch:
      - file: HAProxy is confined, and keeps what it knows of its servers over a reload

# Reloads, so that no connection is dropped.
HAProxy runs:
  service.running:
    - name: haproxy
    - enable: True
    - reload: True
    - require:
      - service: HAProxy has started within its bounds
    - watch:
      - file: HAProxy has something to say where no server does
      - file: HAProxy is configured
{%- if lb.https.enabled %}

# Without a reload, so that no connection is dropped. The file is there first, or else the next
# reload would bring the old one back.
HAProxy shows the certificate of the VIP:
  haproxy.certificate_shown:
    - name: {{ certificate }}
    - socket: {{ lb.socket }}
    - require:
      - service: HAProxy runs
    - watch:
      - file: HAProxy has the certificate of the VIP
{%- endif %}
