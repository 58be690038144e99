# Times in seconds.
web:
  port: 8000
  user: counterapp
  root: /opt/counterapp
  workers: 1
  threads: 32
  min_in_service: 1
  min_healthy_time: 3
  drain_timeout: 30
  # A server that a rollout drained is put back after this, should the rollout die.
  drain_lease: 300
  ready_timeout: 60
  keep_releases: 3
