{%- from 'lib/require.jinja' import require_secrets with context %}
{%- from 'lib/cluster.jinja' import me with context %}
{%- from 'gluster/map.jinja' import gluster, os, secure_access, refuse_other_mode
    with context %}
{{- refuse_other_mode() }}

{%- if gluster.tls %}
{{- require_secrets(['gluster_tls']) }}

# Before the packages: a glusterd that has started without them has to be started again.
Gluster trusts the authority of the fleet:
  file.managed:
    - name: /etc/ssl/glusterfs.ca
    - contents_pillar: secrets:gluster_tls:ca
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True

Gluster's certificate is in its place:
  file.managed:
    - name: /etc/ssl/glusterfs.pem
    - contents_pillar: secrets:gluster_tls:certificate
    - user: root
    - group: root
    - mode: '0644'

Gluster's key is in its place:
  file.managed:
    - name: /etc/ssl/glusterfs.key
    - contents_pillar: secrets:gluster_tls:key
    - show_changes: False
    - user: root
    - group: root
    - mode: '0600'

{%- for suffix in ('ca', 'pem', 'key') %}

Every version of Gluster finds glusterfs.{{ suffix }}:
  file.symlink:
    - name: {{ os.openssl }}/glusterfs.{{ suffix }}
    - target: /etc/ssl/glusterfs.{{ suffix }}
    - makedirs: True
    - require:
      - file: Gluster's key is in its place
    - require_in:
      - file: Gluster's management speaks TLS
{%- endfor %}

# Its being there is what tells glusterd and mounts to speak TLS with each other; empty is right.
Gluster's management speaks TLS:
  file.managed:
    - name: {{ secure_access }}
    - contents: ''
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    - dir_mode: '0755'
    - require:
      - file: Gluster trusts the authority of the fleet
      - file: Gluster's certificate is in its place
      - file: Gluster's key is in its place
{%- else %}

Gluster's management speaks in clear:
  file.absent:
    - name: {{ secure_access }}

Gluster's key is gone:
  file.absent:
    - name: /etc/ssl/glusterfs.key
{%- endif %}
