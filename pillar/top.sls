# Secrets go by minion ID, taken from the topology: a minion can claim any role grain.
{%- from 'selected.jinja' import topology, by_role with context %}
{%- set secrets_of = {
  'db': ['mongodb_keyfile', 'mongodb_admin', 'mongodb_app', 'mongodb_health', 'mongodb_backup',
         'mongodb_backup_key', 'mongodb_backup_old_keys'],
  'web': ['mongodb_app', 'counterapp_operator'],
  'lb': ['https_certificate'],
} %}

{#- Where no environment is asked for, a node has the pillar of the revision that it is moved to. -#}
{%- import_yaml 'moving.yaml' as moving %}
{%- if saltenv == (opts.pillarenv or ('candidate' if opts.id in moving else 'base')) %}
{{ saltenv }}:
  '*':
    - cluster
    - gluster
    - mongodb
    - backup
    - web
    - lb
    - rollout
{#- What each node has is said to that node alone: for all of them it would be looked at once more for
    each. One that leaves has them until it has left: it steps down and goes by itself. -#}
{%- set node = topology.nodes.get(opts.id) or topology.leaving.get(opts.id) %}
{%- if node %}
  {%- set needed = [] %}
  {%- for role in node.roles %}
    {%- do needed.extend(secrets_of.get(role, [])) %}
  {%- endfor %}
  '{{ opts.id }}':
    # A release, note or secret that was not made yet is reported by the SLS that needs it, with the
    # remedy, and not by a general pillar error.
    - ignore_missing: True
    - release
    - releases
    - modules
    {%- for secret in needed | unique | sort %}
    - secrets.{{ secret }}
    {%- endfor %}
    # Its own key and nobody else's: all nodes mount the volume, and prove who they are.
    - secrets.gluster_tls.{{ opts.id }}
    # What a rotation that is under way has given this node; it comes last, and so it wins.
    - secrets.own.{{ opts.id }}
{%- endif %}
{%- endif %}
