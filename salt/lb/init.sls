include:
  - lb.install
  - lb.haproxy
  - lb.guard
  - lb.keepalived
