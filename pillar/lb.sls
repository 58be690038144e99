lb:
  # Where clients come without TLS. With HTTPS they are sent on to it.
  frontend_port: 80
  https:
    enabled: true
    port: 443
    # Whose certificate it is: of our own authority, good for the VIP and for these names; or the
    # operator's, as two files on the master (PEM: certificates, the VIP's own first; their key,
    # without a passphrase), which `salt-run secret.rotate https_certificate` takes over.
    names: []
    certificate: null
    key: null
    # For how many seconds browsers are to come with HTTPS alone (Strict-Transport-Security). 0: they
    # are not told so. Until it is over, nothing takes it back.
    hsts: 0
    # Beginnings of paths that are answered without TLS, too: for old clients that cannot follow a
    # redirect, such as /hit/ and /get/. [/] is all of them.
    plain: []
  # Where HAProxy's own numbers are told, on the node's own address; on 127.0.0.1 whether it is alive.
  metrics_port: 8405
  socket: /run/haproxy/admin.sock
  backend: web
  # Connections that a balancer takes at a time; more wait in the kernel's queue.
  maxconn: 4000
  # What one client, an address (of IPv6 a /64 network), may ask a balancer for; more is answered with
  # 429. 0: as much as it likes.
  limits:
    # Requests in ten seconds. A network behind one address has many people.
    requests: 3000
    # Connections at a time. Of twice as many the last ones are not even answered.
    connections: 400
    # Streams of events at a time.
    streams: 40
    # Counters that are made on purpose, and imports, in a minute.
    creations: 30
    # Networks without limits. 'fleet' is the topology's own: of operators, monitoring, benchmarks.
    exempt: [fleet]
  vrrp:
    id: 51
    # The holder of the VIP says so at this interval, in seconds, by hundredths. So many silent
    # intervals, and another balancer takes the VIP: after 0.69 s. A node whose processor is busy
    # elsewhere for that long hands the VIP over for nothing; then one of the two has to be more.
    interval: 0.2
    missed: 3
