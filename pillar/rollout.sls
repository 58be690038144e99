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
  # In which a node that is made anew must have copied the database, and the volume's files.
  data_timeout: 86400
  # Revisions that are kept on the master and on the volume, to go back to.
  revisions_kept: 5
  # The first web server that is replaced gets few requests for a while, and is compared with the
  # others. It is put back, as the rollout is undone, when more of its requests fail or when it is
  # slower.
  canary:
    enabled: true
    # Percent of the requests that it would have; and for how long at the least.
    weight: 10
    time: 10
    # Hits that are sent to it, and as many to the others, each second or so: what it is judged by
    # where nobody else asks. They count on default/rollout-canary.
    hits: 20
    # What becomes of one that cannot be judged: `pass`, `fail`, or `hold` it for so many seconds
    # more, until it can, or `salt-run rollout.promote` says that it is good. After that it is bad.
    inconclusive: hold
    hold: 300
    # It is slower when its requests take longer in the mean by this part and by so many seconds.
    tolerance: 0.25
    noticeable: 0.02
  # Whom a change tells before it, after it and on failure: `command` (a list: program and arguments,
  # run on the master) or `webhook` (a URL, with a `secret_file` to sign by); see docs/operating.md.
  hooks:
    before: []
    after: []
    failure: []
