# The selected topology, as every minion sees it: who exists, where, with which roles. Written out
# node by node, because Salt's `json` filter sorts keys, and the order of nodes means something:
# the first of a role makes the replica set, or is the first choice for the VIP.
{%- from 'selected.jinja' import topology with context %}

topology:
  name: {{ topology.name }}
  network: {{ topology.network }}
  vip: {{ topology.vip }}
  nodes:
{%- for id, node in topology.nodes.items() %}
    {{ id }}: {{ node | json }}
{%- endfor %}
  # Nodes on their way out, which are no longer among the above.
  leaving:
{%- for id, node in topology.leaving.items() %}
    {{ id }}: {{ node | json }}
{%- else %} {}
{%- endfor %}

# The change that moves this node to another revision, or null.
{%- import_yaml 'moving.yaml' as moving %}
moving: {{ moving.get(opts.id) | json }}
