lb:
  frontend_port: 80
  socket: /run/haproxy/admin.sock
  backend: web
  # Connections that a balancer takes at a time; more wait in the kernel's queue.
  maxconn: 4000
  vrrp:
    id: 51
    # VRRP version 2, because version 3 has no authentication: keepalived says so and ignores the
    # password. Version 2 in turn takes whole seconds only; so that a dead holder is noticed soon
    # all the same, two silent intervals are enough instead of the usual three.
    interval: 1
    missed: 2
