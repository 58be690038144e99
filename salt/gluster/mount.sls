{%- from 'lib/cluster.jinja' import nodes, by_role with context %}
{%- from 'gluster/map.jinja' import gluster with context %}

include:
  - gluster.install
{%- if 'storage' in nodes[grains.id].roles %}
  - storage.volume
{%- endif %}

The shared volume is mounted:
  gluster.mounted:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - name: {{ gluster.mount }}
    - volume: {{ gluster.volume }}
    - servers:
{%- for id in by_role.storage %}
      - {{ nodes[id].address }}
{%- endfor %}
    # Root of any node can make a program there that is root's, or a device.
    - options: [log-level=WARNING, nosuid, nodev, noexec]
    - require:
      - pkg: Gluster's client is installed
{%- if 'storage' in nodes[grains.id].roles %}
      - gluster: The shared volume exists
{%- endif %}
