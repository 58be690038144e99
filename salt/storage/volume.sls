{%- from 'lib/cluster.jinja' import nodes, by_role with context %}
{%- from 'storage/map.jinja' import gluster, force, replica, arbiter, brick_nodes, options,
    remove_bricks with context %}

include:
  - storage.service

# Declared on every storage node, so that each of them heals the pool; whoever runs first makes it.
The storage nodes know each other:
  gluster.peered:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - name: {{ gluster.volume }}
    - peers:
{%- for id in by_role.storage %}
      - {{ nodes[id].address }}
{%- endfor %}
    - require:
      - service: Gluster's daemon runs

The shared volume exists:
  gluster.volume_present:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - name: {{ gluster.volume }}
    - bricks:
{%- for id in brick_nodes %}
      - {{ nodes[id].address }}:{{ gluster.brick }}
{%- endfor %}
    - replica: {{ replica }}
    - arbiter: {{ arbiter }}
    - force: {{ force }}
    - remove_bricks: {{ remove_bricks }}
    - started: True
    - options: {{ options | json }}
    # What was set by hand and is declared nowhere goes.
    - reset_strays: True
    - require:
      - gluster: The storage nodes know each other
