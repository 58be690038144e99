"""
Keep GlusterFS pools, volumes and mounts as declared.

Peers and volumes belong to the pool as a whole: apply :py:func:`peered` and
:py:func:`volume_present` on one node of it, :py:func:`mounted` on each node that needs the volume.

.. code-block:: yaml

    storage pool:
      gluster.peered:
        - peers: [db-1, db-2, db-3]

    shared:
      gluster.volume_present:
        - replica: 3
        - bricks:
          - db-1:/srv/gluster/shared/brick
          - db-2:/srv/gluster/shared/brick
          - db-3:/srv/gluster/shared/brick
        - options:
            network.ping-timeout: 10
        - require:
          - gluster: storage pool

    /srv/shared:
      gluster.mounted:
        - volume: shared
        - servers: [db-1, db-2, db-3]
        - require:
          - gluster: shared
"""

from salt.exceptions import CommandExecutionError

__virtualname__ = "gluster"


def __virtual__():
    if "gluster.peers" not in __salt__:
        return False, "gluster: the gluster execution module is not there"
    return __virtualname__


def peered(name, peers, timeout=60):
    """
    Have these hosts in one pool with the node that this runs on, all connected.

    Hosts that lack are probed, then each is waited for: a probed peer cannot be used at once. Peers
    that are not named here are left alone. A host of another pool is refused by glusterd.

    name
        A label, for the state's ID only.
    peers
        List of host names or addresses; this node itself may be among them.
    timeout
        Seconds to wait for all to be connected.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        missing = __salt__["gluster.missing_peers"](peers)
        if __opts__["test"] and missing:
            ret["result"] = None
            ret["changes"] = {"probed": missing}
            ret["comment"] = f"{', '.join(missing)} would be probed"
            return ret
        for host in missing:
            if __salt__["gluster.probe"](host)["added"]:
                ret["changes"].setdefault("probed", []).append(host)
        __salt__["gluster.wait_peers"](peers, timeout=0 if __opts__["test"] else timeout)
    except CommandExecutionError as error:
        return _failed(ret, error)
    ret["comment"] = f"{', '.join(peers)} are in the pool and connected"
    return ret


def volume_present(
    name, bricks, replica=1, options=None, started=True, force=False, timeout=60, arbiter=0
):
    """
    Have a volume of these bricks, with these options, started with all bricks online (or stopped).

    Creates what is missing, sets options that differ, starts or stops it, and on a started volume
    starts brick processes that are gone. A volume that exists with other bricks or other counts is
    refused, with the difference, and left as it is. Options that are not named are left alone.

    name
        The volume's name.
    bricks
        List of ``host:/absolute/path``, each run of ``replica`` of them one set of copies. The
        directory above each must exist on its host. How the sets, and the copies in them, are
        ordered makes no difference for a volume that exists.
    replica
        Copies of each file.
    options
        Dict of full option names to values; booleans become ``on`` and ``off``.
    started
        False for a volume that is to be stopped.
    force
        When creating, also take bricks on a root file system.
    timeout
        Seconds to wait for all bricks to be online.
    arbiter
        1 if the last brick of each set of three is to hold names and metadata only.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        wanted = __utils__["gluster.layout"](bricks, replica, arbiter)
        values = __utils__["gluster.option_values"](options)
        before = __salt__["gluster.info"](name) if name in __salt__["gluster.volumes"]() else None
        if before:
            _refuse_other_layout(before, wanted, replica, arbiter)
        plan = _volume_plan(name, before, wanted, values, started)
        if __opts__["test"]:
            if plan:
                ret["result"], ret["changes"] = None, plan
                verb = "changed" if before else "created"
                ret["comment"] = f"Volume {name} would be {verb}"
            else:
                ret["comment"] = f"Volume {name} is as declared"
            return ret
        if "volume" in plan:
            __salt__["gluster.create"](name, wanted, replica, arbiter=arbiter, force=force)
            ret["changes"]["volume"] = plan["volume"]
        if "options" in plan:
            changed = {key: values[key] for key in plan["options"]}
            __salt__["gluster.set_options"](name, changed)
            ret["changes"]["options"] = plan["options"]
        if "status" in plan:
            __salt__["gluster.start" if started else "gluster.stop"](name)
            ret["changes"]["status"] = plan["status"]
        if "bricks" in plan:
            __salt__["gluster.start"](name, force=True)
        if started:
            __salt__["gluster.wait_online"](name, timeout=timeout)
        if "bricks" in plan:
            ret["changes"]["bricks"] = plan["bricks"]
        after = __salt__["gluster.info"](name)
        if left := _volume_plan(name, after, wanted, values, started):
            raise CommandExecutionError(f"volume {name} still differs after the change: {left}")
    except CommandExecutionError as error:
        return _failed(ret, error)
    verb = "is as declared" if not plan else "was changed" if before else "was created"
    ret["comment"] = f"Volume {name} {verb}"
    return ret


def mounted(name, volume, servers, options=None, remount=False, timeout=90):
    """
    Have a volume mounted now and after every boot, by a systemd mount unit.

    systemd runs the mount, so that restarting the minion never takes it away. The unit is ordered
    after the network and after a glusterd of the same node. systemd has no retry for mounts; here a
    failed one starts a companion service, ``<unit>-retry.service``, that starts it again every ten
    seconds until it succeeds, so a whole site may boot in any order. A volume that is gone does not
    hold up the boot (``nofail``); a unit that needs it says ``RequiresMountsFor=``.

    Never mounts twice, and mounts anew only if the process that served the mount has died, or if
    told by ``remount``. Units that differ are rewritten and hold from the next mount on.

    name
        The mount point, an absolute path. systemd makes the directory.
    volume
        The volume's name.
    servers
        List of hosts; the first is the source, the others take over when it does not answer.
    options
        List of further mount options. Default: ``[log-level=WARNING]``.
    remount
        True to unmount and mount again when the units changed, or when another volume or server is
        mounted there. The mount is gone for a moment; open files make it fail.
    timeout
        Seconds to wait for the mount.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        units = __salt__["gluster.mount_units"](name, volume, servers, options, test=True)
        before = __salt__["gluster.mount_status"](name)
        wrong = _other_mount(before, volume, servers)
        if wrong and (before["fstype"] != "fuse.glusterfs" or before["count"] > 1 or not remount):
            raise CommandExecutionError(f"{name} was left as it is: {wrong}")
        anew = before["mounted"] and (not before["alive"] or (remount and bool(wrong or units)))
        plan = {"units": units} if units else {}
        if not before["enabled"]:
            plan["enabled"] = {"old": False, "new": True}
        if anew or not before["mounted"]:
            dead = before["mounted"] and not before["alive"]
            old = f"{before['source']}, without a process" if dead else before["source"]
            plan["mounted"] = {"old": old, "new": f"{servers[0]}:/{volume}"}
        if __opts__["test"]:
            ret["result"], ret["changes"] = None if plan else True, plan
            ret["comment"] = _mount_words(name, plan, "would be")
            return ret
        if units:
            __salt__["gluster.mount_units"](name, volume, servers, options)
            ret["changes"]["units"] = units
        if anew:
            __salt__["gluster.unmount"](name)
        if "enabled" in plan or "mounted" in plan:
            __salt__["gluster.mount"](name, timeout=timeout)
        after = __salt__["gluster.mount_status"](name)
        if wrong := _other_mount(after, volume, servers) or _not_kept(after):
            raise CommandExecutionError(f"{name} after the change: {wrong}")
    except CommandExecutionError as error:
        return _failed(ret, error)
    ret["changes"].update(plan)
    ret["comment"] = _mount_words(name, plan, "was")
    return ret


def _failed(ret, error):
    # A dry run on a bare node, where an earlier state of the same run would install glusterd.
    if __opts__["test"] and not getattr(error, "answered", True):
        ret["result"] = None
        ret["comment"] = f"Cannot be told before glusterd runs: {error}"
        return ret
    ret["result"] = False
    ret["comment"] = str(error)
    return ret


def _refuse_other_layout(volume, wanted, replica, arbiter):
    difference = __utils__["gluster.layout_difference"](volume, wanted, replica, arbiter)
    if difference:
        raise CommandExecutionError(
            f"volume {volume['name']} exists and was left as it is: {difference}. This state does "
            "not change a volume's layout yet: declare what is there, or change it by hand with "
            "gluster volume add-brick, remove-brick or replace-brick"
        )


def _volume_plan(name, volume, wanted, values, started):
    """Return what has to change on ``volume`` (None: it is missing), in the order of doing."""
    plan = {}
    if volume is None:
        plan["volume"] = {"old": None, "new": {"name": name, "bricks": wanted}}
    now = volume["options"] if volume else {}
    differing = {
        key: {"old": now.get(key), "new": value}
        for key, value in values.items()
        if now.get(key) != value
    }
    if differing:
        plan["options"] = differing
    if started != bool(volume and volume["started"]):
        plan["status"] = {
            "old": volume["status"] if volume else None,
            "new": "Started" if started else "Stopped",
        }
    elif started:
        state = __salt__["gluster.status"](name)
        offline = [item["name"] for item in state["bricks"] if not item["online"]]
        if offline:
            plan["bricks"] = {brick: {"old": "offline", "new": "online"} for brick in offline}
    return plan


def _other_mount(status, volume, servers):
    """Return in words what else is mounted, None if nothing is or the declared volume."""
    if not status["mounted"]:
        return None
    if status["count"] > 1:
        return f"{status['count']} mounts lie on top of each other; unmount all but one by hand"
    if status["fstype"] != "fuse.glusterfs":
        return f"{status['source']} of type {status['fstype']} is mounted there"
    host, _, mounted_volume = status["source"].partition(":")
    if mounted_volume.strip("/") != volume or host not in servers:
        return (
            f"{status['source']} is mounted there, not {volume} from {', '.join(servers)}; "
            "say remount: True to replace it"
        )
    return None


def _not_kept(status):
    if not status["mounted"]:
        return "it is not mounted"
    if not status["alive"]:
        return "its glusterfs process has died"
    if not status["enabled"]:
        return f"{status['unit']} is not enabled"
    return None


def _mount_words(name, plan, verb):
    if not plan:
        return f"{name} is mounted as declared"
    done = []
    if "mounted" in plan:
        done.append(f"mounted from {plan['mounted']['new']}")
    if "enabled" in plan:
        done.append("enabled")
    if "units" in plan:
        later = "" if "mounted" in plan else ", to hold from the next mount on"
        done.append(f"written as units{later}")
    return f"{name} {verb} {', '.join(done)}"
