{%- set plan = salt['saltutil.runner']('rollout.planned') %}

Hits are counted exactly and every web node has the release:
  salt.runner:
    - name: rollout.verify
    - release: {{ plan.release | json }}
