# The volume for what must be the same and safe everywhere but is not on the request path.
{%- from 'selected.jinja' import by_role with context %}

gluster:
  volume: shared
  mount: /srv/shared
  brick: /srv/gluster/shared/brick
  replica: {{ [3, by_role.storage | length] | min }}
  # null: force only where the brick lies on the node's root filesystem (see storage/map.jinja).
  force: null
  options:
    # The default of 42 s would freeze every mount that long when a storage node dies.
    network.ping-timeout: "10"
