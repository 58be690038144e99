# What a node is decides what it gets. lib/cluster.jinja, which every role imports, fails the
# whole highstate when a node claims a role that the topology does not give it.
base:
  '*':
    - base
    - gluster
  'G@roles:storage':
    - match: compound
    - storage
  'G@roles:db':
    - match: compound
    - mongodb
  'G@roles:web':
    - match: compound
    - web
  'G@roles:lb':
    - match: compound
    - lb
