# What a node applies that leaves the fleet: nothing. A rollout takes it out (fleet/stages/leaving.py).
This node leaves the fleet:
  test.nop
