# What a rollout may put on many nodes at once, because nothing that runs is touched by it: names,
# packages, and on a node that has nothing of its role yet (pillar `fresh`) the role's packages.
{%- from 'lib/cluster.jinja' import me with context %}

include:
  - base
  - gluster.install
{%- if 'storage' in me.roles %}
  - storage.service
{%- endif %}
{%- if grains.id in salt['pillar.get']('fresh', []) %}
{%-   for role in ['db', 'web', 'lb'] if role in me.roles %}
  - {{ role }}.install
{%-   endfor %}
{%- endif %}
