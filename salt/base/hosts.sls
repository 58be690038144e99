{%- from 'lib/cluster.jinja' import nodes, leaving with context %}

# The whole file, not only a block: the line `127.0.1.1 <own name>` of a fresh Debian would make
# a node announce a loopback address to its peers.
Every node knows the others by name:
  file.managed:
    - name: /etc/hosts
    - source: salt://base/files/hosts.jinja
    - template: jinja
    - context:
        nodes: {{ nodes | json }}
        leaving: {{ leaving | json }}
    - user: root
    - group: root
    - mode: '0644'
