{%- from 'orch/plan.jinja' import checked with context %}
{%- set plan = salt['saltutil.runner']('rollout.planned', arg=['web']) %}
{{- checked(plan) }}
{%- set previous = namespace(step=none) %}
{%- set steps = [] %}

{%- if plan.todo and not plan.serving %}

# No balancer sends anything yet, so all can be made at once.
The web nodes have their states:
  salt.runner:
    - name: rollout.apply
    - stage: web
    - nodes: {{ plan.todo | json }}
    - sls: web
    - pillar:
        release: {{ plan.release | json }}

The web nodes are ready:
  salt.runner:
    - name: rollout.web_ready
    - node: {{ plan.todo | json }}
    - release: {{ plan.release | json }}
    - require:
      - salt: The web nodes have their states
{%-   set previous.step = 'The web nodes are ready' %}

{%- elif plan.todo %}

{%-   for node in plan.todo %}

{{ node }} gets no more requests:
  salt.runner:
    - name: rollout.drain
    - node: {{ node }}
{%-     if previous.step %}
    - require:
      - salt: {{ previous.step }}
{%-     endif %}

{{ node }} has its states:
  salt.runner:
    - name: rollout.apply
    - stage: web
    - nodes: {{ node }}
    - sls: web
    - pillar:
        release: {{ plan.release | json }}
    - require:
      - salt: {{ node }} gets no more requests

{{ node }} is ready:
  salt.runner:
    - name: rollout.web_ready
    - node: {{ node }}
    - release: {{ plan.release | json }}
    - require:
      - salt: {{ node }} has its states

{{ node }} gets requests again:
  salt.runner:
    - name: rollout.rejoin
    - node: {{ node }}
    - require:
      - salt: {{ node }} is ready
{%-     set previous.step = node ~ ' gets requests again' %}
{%-     do steps.extend([node ~ ' gets no more requests', node ~ ' has its states',
                         node ~ ' is ready', previous.step]) %}
{%-   endfor %}

What was done is put back:
  salt.runner:
    - name: rollout.undo_web
    - onfail:
{%-   for step in steps %}
      - salt: {{ step }}
{%-   endfor %}

{%- elif not plan.strayed %}

Every web node serves the release already:
  test.nop
{%- endif %}

{%- for node in plan.strayed %}

# Nothing to do on it, and yet drained: so a rollout that died has left it.
{{ node }} gets requests again:
  salt.runner:
    - name: rollout.rejoin
    - node: {{ node }}
{%-   if previous.step %}
    - require:
      - salt: {{ previous.step }}
{%-   endif %}
{%-   set previous.step = node ~ ' gets requests again' %}
{%- endfor %}
