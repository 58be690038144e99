# What a node is decides what it gets. lib/cluster.jinja, which every role imports, fails the
# whole highstate when a node claims a role that the topology does not give it.
#
# A node that asks for no environment goes by `base`, the revision that the fleet is on. While a change
# moves it to the candidate it would be put back on its own, or moved out of turn: so it refuses.
{%- set moving = pillar.get('moving') %}
{%- if moving and not opts.saltenv %}
{%-   if saltenv == 'candidate' %}
candidate:
  '*':
    - moving
{%-   endif %}
{%- elif saltenv == (opts.saltenv or 'base') and opts.id in (pillar.get('topology', {}).get('leaving') or {}) %}
{{ saltenv }}:
  '*':
    - leaving
{%- elif saltenv == (opts.saltenv or 'base') %}
{{ saltenv }}:
  '*':
    - base
    - gluster
  'G@roles:storage':
    - match: compound
    - storage
  'G@roles:db':
    - match: compound
    - db
  'G@roles:web':
    - match: compound
    - web
  'G@roles:lb':
    - match: compound
    - lb
{%- endif %}
