# The whole fleet, in order, each stage gated on the one before:
#
#   salt-run state.orchestrate orch.rollout pillar='{"release": "1.4.0"}'
#
# Without a release it keeps the one that the fleet is on, and brings nodes to what is in the checkout.
# What each step does is in fleet/rollout.py and fleet/stages/.
{%- set steps = [
  ('Nobody else changes the fleet', 'begin'),
  ('Everything that the rollout needs is there', 'preflight'),
  ('Nodes have names and packages', 'prepare'),
  ('The volume is there and holds the release', 'storage'),
  ('The replica set serves', 'db'),
  ('The web servers serve the release', 'web'),
  ('The balancers serve the web servers', 'lb'),
  ('Nodes that leave the fleet are out of it', 'leaving'),
  ('Hits through the VIP are counted', 'verify'),
  ('It is noted as the revision of the fleet', 'finish'),
] %}
{%- set before = namespace(step=none) %}
{%- for step, name in steps %}

{{ step }}:
  salt.runner:
{%-   if name in ('prepare', 'storage', 'db', 'web', 'lb', 'leaving') %}
    - name: rollout.stage
    - stage: {{ name }}
{%-   else %}
    - name: rollout.{{ name }}
{%-   endif %}
{%-   if name == 'begin' %}
    - pillar: {{ pillar | json }}
{%-   else %}
    - require:
      - salt: {{ before.step }}
{%-   endif %}
{%-   set before.step = step %}
{%- endfor %}

# The last word of a rollout that failed. It fails as well, so that the exit code tells.
What was touched is put back:
  salt.runner:
    - name: rollout.undo
    - onfail:
{%- for step, name in steps if name != 'begin' %}
      - salt: {{ step }}
{%- endfor %}
