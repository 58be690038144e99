# Switches TLS on or off in all of Gluster at once, as gluster:tls in the pillar says:
#
#   salt-run state.orchestrate orch.storage_tls
#   salt-run state.orchestrate orch.storage_tls pillar='{"restart": true}'    renewed certificates
#
# The shared volume is gone for that while; nothing that serves needs it. Given again after it has
# died, it does everything once more; given again after it came through, it does nothing.
{%- set plan = salt['saltutil.runner']('storage.plan_tls',
                                       kwarg={'restart': salt['pillar.get']('restart', False)}) %}
{%- if plan is not mapping or 'keepers' not in plan %}
  {{- raise('What has to be done cannot be told: '
            ~ (plan.failed | join('; ') if plan is mapping else plan)) }}
{%- endif %}

{%- if not plan.reasons %}

Gluster does as the pillar says already:
  test.nop
{%- else %}
{%-   set keepers, others = plan.keepers, plan.others %}

Nobody else changes the fleet:
  salt.runner:
    - name: counterapp.lock

It is noted that this has begun:
  salt.runner:
    - name: storage.begin_tls
    - require:
      - salt: Nobody else changes the fleet

The volume is mounted nowhere:
  salt.runner:
    - name: storage.unmount
    - nodes: {{ (keepers + others) | json }}
    - require:
      - salt: It is noted that this has begun

No glusterd runs:
  salt.runner:
    - name: storage.stop_daemons
    - nodes: {{ keepers | json }}
    - require:
      - salt: The volume is mounted nowhere

Every node has the files of the new mode:
  salt.runner:
    - name: rollout.apply
    - stage: storage
    - nodes: {{ (keepers + others) | json }}
    - sls: gluster.tls
    - pillar:
        gluster_tls_switch: True
    - require:
      - salt: No glusterd runs

The pool is whole again:
  salt.runner:
    - name: storage.start_daemons
    - nodes: {{ keepers | json }}
    - require:
      - salt: Every node has the files of the new mode

The bricks forget the old mode:
  salt.runner:
    - name: storage.stop_volume
    - require:
      - salt: The pool is whole again

The volume starts in the new mode:
  salt.runner:
    - name: rollout.apply
    - stage: storage
    - nodes: {{ keepers[0] | json }}
    - sls: storage
    - require:
      - salt: The bricks forget the old mode

The volume is mounted everywhere:
  salt.runner:
    - name: rollout.apply
    - stage: storage
    - nodes: {{ (keepers + others) | json }}
    - sls: gluster
    - require:
      - salt: The volume starts in the new mode

The volume is healthy:
  salt.runner:
    - name: rollout.volume_healthy
    - require:
      - salt: The volume is mounted everywhere

The switch is done:
  salt.runner:
    - name: storage.finish_tls
    - require:
      - salt: The volume is healthy

{%-   if not opts.get('test') %}

# The last word of one that failed. It fails, so the exit code tells too.
The switch has failed:
  salt.runner:
    - name: storage.abandon_tls
    - onfail:
      - salt: Nobody else changes the fleet
      - salt: It is noted that this has begun
      - salt: The volume is mounted nowhere
      - salt: No glusterd runs
      - salt: Every node has the files of the new mode
      - salt: The pool is whole again
      - salt: The bricks forget the old mode
      - salt: The volume starts in the new mode
      - salt: The volume is mounted everywhere
      - salt: The volume is healthy
      - salt: The switch is done
{%-   endif %}
{%- endif %}
