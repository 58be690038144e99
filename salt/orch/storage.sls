# Storage nodes one after the other; where there is no volume yet the first one makes it, and the
# others follow together with those who only mount.
{%- from 'orch/plan.jinja' import checked with context %}
{%- set plan = salt['saltutil.runner']('rollout.planned', arg=['storage']) %}
{{- checked(plan) }}
{%- set previous = namespace(step=none) %}

{%- for node in plan.todo %}

{{ node }} keeps its share of the volume:
  salt.runner:
    - name: rollout.apply
    - stage: storage
    - nodes: {{ node }}
    - sls: [storage, gluster]
{%-   if previous.step %}
    - require:
      - salt: {{ previous.step }}
{%-   endif %}
{%-   set previous.step = node ~ ' keeps its share of the volume' %}
{%- endfor %}

The volume is healthy:
  salt.runner:
    - name: rollout.volume_healthy
{%- if previous.step %}
    - require:
      - salt: {{ previous.step }}
{%- endif %}
{%- set previous.step = 'The volume is healthy' %}

{%- if plan.clients %}

The others mount the volume:
  salt.runner:
    - name: rollout.apply
    - stage: storage
    - nodes: {{ plan.clients | json }}
    - sls: gluster
    - require:
      - salt: {{ previous.step }}
{%-   set previous.step = 'The others mount the volume' %}
{%- endif %}

The release lies on the volume:
  salt.runner:
    - name: rollout.publish
    - release: {{ plan.release | json }}
    - require:
      - salt: {{ previous.step }}
