# The volume for what must be the same and safe everywhere but is not on the request path.
{%- from 'selected.jinja' import by_role with context %}

gluster:
  volume: shared
  mount: /srv/shared
  brick: /srv/gluster/shared/brick
  replica: {{ [3, by_role.storage | length] | min }}
  # true: two copies and an arbiter, instead of three copies. The arbiter, the last of each three
  # storage nodes, has names and attributes only and needs next to no disk; it votes like a copy.
  # For a volume that is to be made: a copy of one that exists does not become an arbiter, or back.
  arbiter: false
  # Encryption and certificates on the management and the data path. To switch a cluster that runs,
  # change it here and run `salt-run storage.switch_tls`: see docs/operating.md.
  tls: true
  # null: force only where the brick lies on the node's root filesystem (see storage/map.jinja).
  force: null
  # What follows from the topology (quorum, who may mount) is in storage/map.jinja; what stands here
  # comes on top of that.
  options:
    # The default of 42 s would freeze every mount that long when a storage node dies.
    network.ping-timeout: "10"
    # A ping may have been answered just before the node was cut off: the next one is sent 10 s
    # later, and waited for as long again. The kernel tells after 10 s that it sends in vain.
    client.tcp-user-timeout: "10"
    # Clients use FUSE. gluster's own NFS server would be a second way in, without TLS.
    nfs.disable: "on"
    # Whatever is not worth a warning is noise after a year of rotated logs.
    diagnostics.brick-log-level: WARNING
    diagnostics.client-log-level: WARNING
  # Only where the volume keeps copies.
  healing:
    # On is the default; declared, it is put back after someone has switched it off.
    cluster.self-heal-daemon: "on"
    # Seconds between two looks for what is left to heal, 600 by default. A look costs little, and
    # what failed at first (a brick that was still starting) is healed within the minute.
    cluster.heal-timeout: "30"
    # Files healed at once on each brick, 1 by default. Small nodes that also run the database get
    # done sooner with two, without the disk being kept from others.
    cluster.shd-max-threads: "2"
  log:
    # Rotated each day, and sooner (it is looked each hour) when a log is larger than this.
    maxsize: 50M
    keep: 14
