# Backups of the database, and the archive of its oplog between them. Both lie on the shared volume.
backup:
  # Of each backup a folder.
  folder: /srv/shared/backups
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
