include:
  - db.install
  - db.config
  - db.service
  - db.replication
  - db.archive
