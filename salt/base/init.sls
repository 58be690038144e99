include:
  - base.install
  - base.hosts
