include:
  - gluster.install
  - gluster.log
  - gluster.mount
