{%- from 'orch/plan.jinja' import checked with context %}
{%- set plan = salt['saltutil.runner']('rollout.planned', arg=['db']) %}
{{- checked(plan) }}
{%- set previous = namespace(step=none) %}

{%- if not plan.initialized %}

# No set yet, so nobody is served and nobody can be hurt: all daemons start at once, then the first
# node makes the set and its users.
Every member runs:
  salt.runner:
    - name: rollout.apply
    - stage: db
    - nodes: {{ plan.members | json }}
    - sls: db.service

{{ plan.members[0] }} makes the replica set:
  salt.runner:
    - name: rollout.apply
    - stage: db
    - nodes: {{ plan.members[0] }}
    - sls: db.replication
    - require:
      - salt: Every member runs
{%-   set previous.step = plan.members[0] ~ ' makes the replica set' %}

{%- else %}

# Never two members at once; what serves least comes first, the primary last and only after it has
# handed over.
{%-   for node in plan.todo %}

{{ node }} may be touched:
  salt.runner:
    - name: rollout.step_aside
    - node: {{ node }}
{%-     if previous.step %}
    - require:
      - salt: {{ previous.step }}
{%-     endif %}

{{ node }} has its states:
  salt.runner:
    - name: rollout.apply
    - stage: db
    - nodes: {{ node }}
    - sls: mongodb
    - require:
      - salt: {{ node }} may be touched

{{ node }} serves again:
  salt.runner:
    - name: rollout.member_back
    - node: {{ node }}
    - require:
      - salt: {{ node }} has its states
{%-     set previous.step = node ~ ' serves again' %}
{%-   endfor %}
{%- endif %}

The replica set is healthy:
  salt.runner:
    - name: rollout.replica_set_healthy
{%- if previous.step %}
    - require:
      - salt: {{ previous.step }}
{%- endif %}
