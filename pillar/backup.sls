# Backups of the database, and the archive of its oplog between them. Both lie on the shared volume.
backup:
  # Of each backup a folder.
  folder: /srv/shared/backups
  # Seconds between two that are made by themselves; 0 is none. Each reads all counters once, from a
  # secondary.
  every: 3600
  # Of those, the newest of so many hours, days and weeks are kept; what a command has made is kept
  # until `backup.remove`.
  keep: {hourly: 24, daily: 7, weekly: 4}
  # Seconds between two proofs: the newest backup is restored into a mongod of its own on a node, and
  # compared; 0 is none.
  drill_every: 86400
  # Where each is copied to, with what the archive has closed, since the volume shares its machines with the replica set: null, or
  # {folder: /mnt/backups} for what is mounted on the master, or
  # {host: backup@vault.example, folder: /srv/backups}, with the key /etc/salt/counterapp/backup/key
  # and the host's own in known_hosts beside it. fleet/second.py says what else can be set.
  second: null
  archive:
    # false: no db node keeps the oplog, and only the times of backups can be restored.
    enabled: true
    folder: /srv/shared/oplog
    # A file of the archive is closed when it is so many seconds old or has so many MiB.
    seal_seconds: 600
    seal_mib: 64
    # What was written longer ago than this is on the disks of the volume: so much may be lost with
    # all db nodes at once.
    sync_seconds: 10
