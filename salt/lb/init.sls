include:
  - lb.install
  - lb.haproxy
  - lb.keepalived
