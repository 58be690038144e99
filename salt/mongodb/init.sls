include:
  - mongodb.install
  - mongodb.config
  - mongodb.service
  - mongodb.replication
