# Times in seconds.
web:
  port: 8000
  # For operators only, with /metrics: the balancers do not know it.
  metrics_port: 8001
  user: counterapp
  root: /opt/counterapp
  workers: 1
  # MiB that the workers and their parent may have together. They have about 110 at rest, 15 KiB more
  # for each client, and for the 200 imports that one client may send at a time some 600.
  memory_max: 1024
  # Clients of a worker at a time, streams included; more wait until one of them goes.
  connections: 2000
  # Seconds that a hit waits at most, also while the replica set elects; then it is answered with 503.
  # Longer than an election takes, and shorter than the 10 s for which many clients wait.
  hit_deadline: 8
  # Hits of a worker that wait for their write at a time; more are told to come back later (503).
  waiting: 1000
  # Streams of a worker at a time; more are told to come back later (503).
  streams: 200
  # The same for one client, by its address: its share of a worker's streams, and how many of its
  # requests a worker serves at a time; more are told to come back later (429).
  client_streams: 20
  client_places: 200
  # Counters that one client may make, and records that it may import, on a worker in an hour.
  client_creations: 300
  client_imports: 100000
  # Days after its last change for which a counter that nobody owns is kept.
  unowned_lifetime: 180
  # Counters, and idempotency keys, that the database may hold; no more are made or taken then.
  most_counters: 10000000
  most_keys: 10000000
  # For how long an Idempotency-Key is remembered.
  keep_keys: 86400
  drain_timeout: 30
  # A server that a rollout drained is put back after this, should the rollout die.
  drain_lease: 300
  ready_timeout: 60
  keep_releases: 3
