include:
  - gluster.install
  - gluster.mount
