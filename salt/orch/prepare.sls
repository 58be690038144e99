# What nothing that runs depends on yet goes to all nodes at once; that is most of the time that a
# bare fleet takes.
{%- from 'orch/plan.jinja' import checked with context %}
{%- set plan = salt['saltutil.runner']('rollout.planned', arg=['prepare']) %}
{{- checked(plan) }}

{%- if plan.todo %}

Every node has what it needs before its turn:
  salt.runner:
    - name: rollout.apply
    - stage: prepare
    - nodes: {{ plan.todo | json }}
    - sls: prepare
    - pillar:
        fresh: {{ plan.fresh | json }}
{%- else %}

Every node has what it needs already:
  test.nop
{%- endif %}
