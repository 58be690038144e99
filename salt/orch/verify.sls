{%- from 'orch/plan.jinja' import checked with context %}
{%- set plan = salt['saltutil.runner']('rollout.planned') %}
{{- checked(plan) }}

Hits are counted exactly and every web node has the release:
  salt.runner:
    - name: rollout.verify
    - release: {{ plan.release | json }}
