include:
  - web.install
  - web.config
  - web.release
