# What a node applies that is asked to converge by itself while a change moves it.

A change moves this node:
  test.fail_without_changes:
    - name: >-
        the change {{ pillar.moving }} moves '{{ grains.id }}' to another revision, and nothing was
        applied: wait for its end, or, when it has died, run it again or `salt-run rollout.rollback`
    - comment: Nothing was applied.
