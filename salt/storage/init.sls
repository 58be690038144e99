include:
  - storage.install
  - storage.service
  - storage.volume
