{%- from 'orch/plan.jinja' import checked with context %}
{%- set plan = salt['saltutil.runner']('rollout.planned', arg=['lb']) %}
{{- checked(plan) }}
{%- set previous = namespace(step=none) %}

{%- if plan.todo and not plan.serving %}

The balancers have their states:
  salt.runner:
    - name: rollout.apply
    - stage: lb
    - nodes: {{ plan.todo | json }}
    - sls: lb
{%-   set previous.step = 'The balancers have their states' %}

{%- else %}

# The one that holds the VIP is last, and has handed it over when its turn comes.
{%-   for node in plan.todo %}

{{ node }} does not hold the VIP:
  salt.runner:
    - name: rollout.hand_over_vip
    - node: {{ node }}
{%-     if previous.step %}
    - require:
      - salt: {{ previous.step }}
{%-     endif %}

{{ node }} has its states:
  salt.runner:
    - name: rollout.apply
    - stage: lb
    - nodes: {{ node }}
    - sls: lb
    - require:
      - salt: {{ node }} does not hold the VIP

{{ node }} sees the web servers:
  salt.runner:
    - name: rollout.balancer_ready
    - node: {{ node }}
    - require:
      - salt: {{ node }} has its states
{%-     set previous.step = node ~ ' sees the web servers' %}
{%-   endfor %}
{%- endif %}

One balancer holds the VIP:
  salt.runner:
    - name: rollout.vip_held
{%- if previous.step %}
    - require:
      - salt: {{ previous.step }}
{%- endif %}
