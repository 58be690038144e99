# The whole fleet, in order, each stage gated on the one before:
#
#   salt-run state.orchestrate orch.rollout pillar='{"release": "1.4.0"}'
#
# Without a release it converges what is there. The stages are orchestrations of their own because
# each is rendered when it begins, and goes by how the fleet is then: which member is the primary,
# which balancer has the VIP. Nothing is applied where the preflight found nothing to change.
{%- set stages = {
  'prepare': 'Nodes have names and packages',
  'storage': 'The volume is there and holds the release',
  'db': 'The replica set serves',
  'web': 'The web nodes serve the release',
  'lb': 'The balancers serve the web nodes',
} %}

Nobody else rolls out:
  salt.runner:
    - name: counterapp.lock

Everything that the rollout needs is there:
  salt.runner:
    - name: counterapp.preflight
    - release: {{ salt['pillar.get']('release', none) | json }}
    - require:
      - salt: Nobody else rolls out

{%- set previous = namespace(step='Everything that the rollout needs is there') %}
{%- for stage, step in stages.items() %}

{{ step }}:
  salt.runner:
    - name: state.orchestrate
    - mods: orch.{{ stage }}
    - require:
      - salt: {{ previous.step }}
{%-   set previous.step = step %}
{%- endfor %}

Hits through the VIP are counted:
  salt.runner:
    - name: state.orchestrate
    - mods: orch.verify
    - require:
      - salt: {{ previous.step }}

The rollout is noted:
  salt.runner:
    - name: rollout.finish
    - require:
      - salt: Hits through the VIP are counted

# The last word of a rollout that failed: node, step, reason. It fails, so the exit code tells too.
The rollout has failed:
  salt.runner:
    - name: rollout.abandon
    - onfail:
      - salt: Nobody else rolls out
      - salt: Everything that the rollout needs is there
{%- for step in stages.values() %}
      - salt: {{ step }}
{%- endfor %}
      - salt: Hits through the VIP are counted
      - salt: The rollout is noted
