include:
  - storage.install

Gluster's daemon runs:
  service.running:
    - name: glusterd
    - enable: True
    - require:
      - pkg: Gluster's server is installed
      - file: The brick has a place
