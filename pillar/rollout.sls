# How the fleet is taken from one revision to another. Times in seconds. Each of these can be said to
# a single rollout as well: pillar='{"batch": 2}'.
rollout:
  # Web servers that are replaced at once: a number, or a part of all of them ("25%").
  batch: 1
  # Web servers that stay in rotation in every balancer.
  min_in_service: 1
  # For how long a web server must be ready before it is given requests again.
  min_healthy_time: 3
  # For each node, from its first step to its last, and for the whole; null is no end.
  deadline: 600
  total_deadline: null
  # Revisions that are kept on the master and on the volume, to go back to.
  revisions_kept: 5
