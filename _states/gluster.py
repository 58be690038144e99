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

    Hosts that lack are probed, then each is waited for: a probed peer cannot be used at once. May
    run on several of the hosts at the same time. Peers that are not named here are left alone.

    name
        A label, for the state's ID only.
    peers
        List of host names or addresses; this node itself may be among them.
    timeout
        Seconds to go on probing and waiting until all are connected.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        found = __salt__["gluster.find_peers"](peers)
        missing = [host for host, seen in found.items() if not seen["member"]]
        if __opts__["test"] and missing:
            ret["result"], ret["changes"] = None, {"probed": missing}
            ret["comment"] = f"{', '.join(missing)} would be probed"
            return ret
        if missing:
            added = __salt__["gluster.gather"](peers, timeout=timeout)
            ret["changes"] = {"probed": added} if added else {}
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
        declared = {
            "bricks": __utils__["gluster.layout"](bricks, replica, arbiter),
            "replica": replica,
            "arbiter": arbiter,
            "options": __utils__["gluster.option_values"](options),
            "started": started,
        }
        plan = _volume_plan(name, declared)
        if __opts__["test"]:
            ret["result"], ret["changes"] = None if plan else True, plan
            verb = "would be created" if "volume" in plan else "would be changed"
            ret["comment"] = f"Volume {name} {verb if plan else 'is as declared'}"
            return ret
        while plan:
            step, change = next(iter(plan.items()))
            try:
                _volume_step(name, declared, step, change, force, timeout)
                ret["changes"][step] = change
            except CommandExecutionError:
                # The same state on another node may have done this very step meanwhile.
                if step in _volume_plan(name, declared):
                    raise
            plan = _volume_plan(name, declared)
            if step in plan:
                raise CommandExecutionError(f"volume {name} still differs: {plan}")
        if started:
            __salt__["gluster.wait_online"](name, timeout=timeout)
    except CommandExecutionError as error:
        return _failed(ret, error)
    verb = "was created" if "volume" in ret["changes"] else "was changed"
    if not ret["changes"]:
        verb = "is as declared"
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
        plan = __salt__["gluster.mount_units"](name, volume, servers, options, test=True)
        before = __salt__["gluster.mount_status"](name)
        other = _other_mount(before, volume, servers)
        if other and not (remount and other["replaceable"]):
            raise CommandExecutionError(f"{name} was left as it is: {other['words']}")
        dead = before["mounted"] and not before["alive"]
        anew = dead or (before["mounted"] and remount and bool(other or "units" in plan))
        if anew or not before["mounted"]:
            old = f"{before['source']}, without a process" if dead else before["source"]
            plan["mounted"] = {"old": old, "new": f"{servers[0]}:/{volume}"}
        if __opts__["test"]:
            ret["result"], ret["changes"] = None if plan else True, plan
            ret["comment"] = _mount_words(name, plan, "would be")
            return ret
        if "units" in plan or "enabled" in plan:
            ret["changes"] = __salt__["gluster.mount_units"](name, volume, servers, options)
        if "mounted" in plan:
            if anew:
                __salt__["gluster.unmount"](name)
            __salt__["gluster.mount"](name, timeout=timeout)
            ret["changes"]["mounted"] = plan["mounted"]
        after = __salt__["gluster.mount_status"](name)
        if other := _other_mount(after, volume, servers):
            raise CommandExecutionError(f"{name} after the change: {other['words']}")
        if not (after["alive"] and after["enabled"]):
            raise CommandExecutionError(f"{name} does not last after the change: {after}")
    except CommandExecutionError as error:
        return _failed(ret, error)
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


def _volume_plan(name, declared):
    """Return what has to change on a volume, as the state's changes, in the order of doing."""
    plan = {}
    volume = __salt__["gluster.info"](name) if name in __salt__["gluster.volumes"]() else None
    if volume is None:
        plan["volume"] = {"old": None, "new": {"name": name, "bricks": declared["bricks"]}}
    elif words := __utils__["gluster.layout_difference"](
        volume, declared["bricks"], declared["replica"], declared["arbiter"]
    ):
        raise CommandExecutionError(
            f"volume {name} exists and was left as it is: {words}. This state does not change a "
            "volume's layout yet: declare what is there, or change it by hand with gluster volume "
            "add-brick, remove-brick or replace-brick"
        )
    now = volume["options"] if volume else {}
    differing = {
        key: {"old": now.get(key), "new": value}
        for key, value in declared["options"].items()
        if now.get(key) != value
    }
    # Before the start, so that no client ever sees the volume without its access rules.
    if differing:
        plan["options"] = differing
    running = bool(volume and volume["started"])
    if declared["started"] and not running:
        plan["status"] = {"old": volume["status"] if volume else None, "new": "Started"}
    elif running and not declared["started"]:
        plan["status"] = {"old": "Started", "new": "Stopped"}
    elif running:
        state = __salt__["gluster.status"](name)
        offline = [item["name"] for item in state["bricks"] if not item["online"]]
        if offline:
            plan["bricks"] = {brick: {"old": "offline", "new": "online"} for brick in offline}
    return plan


def _volume_step(name, declared, step, change, force, timeout):
    if step == "volume":
        __salt__["gluster.create"](
            name,
            declared["bricks"],
            replica=declared["replica"],
            arbiter=declared["arbiter"],
            force=force,
        )
    elif step == "options":
        values = {key: declared["options"][key] for key in change}
        __salt__["gluster.set_options"](name, values)
    elif step == "status" and not declared["started"]:
        __salt__["gluster.stop"](name)
    else:
        # With force a started volume's missing brick processes are started.
        __salt__["gluster.start"](name, force=step == "bricks")
        __salt__["gluster.wait_online"](name, timeout=timeout)


def _other_mount(status, volume, servers):
    """Return what is mounted instead of the volume, and whether remounting would mend it."""
    if not status["mounted"]:
        return None
    if status["count"] > 1:
        words = f"{status['count']} mounts lie on top of each other; unmount all but one by hand"
        return {"words": words, "replaceable": False}
    if status["fstype"] != "fuse.glusterfs":
        words = f"{status['source']} of type {status['fstype']} is mounted there"
        return {"words": words, "replaceable": False}
    host, _, mounted_volume = status["source"].partition(":")
    if mounted_volume.strip("/") != volume or host not in servers:
        words = f"{status['source']} is mounted there, not {volume} from {', '.join(servers)}"
        return {"words": f"{words}; say remount: True to replace it", "replaceable": True}
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
