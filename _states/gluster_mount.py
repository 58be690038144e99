"""
Keep Gluster volumes mounted: the part of ``gluster`` for clients.
"""

import os

from salt.exceptions import CommandExecutionError

__virtualname__ = "gluster"


def __virtual__():
    if "gluster.peers" not in __salt__:
        return False, "gluster: the gluster execution module is not there"
    return __virtualname__


def mounted(name, volume, servers, options=None, remount=False, timeout=90):
    """
    Have a volume mounted now and after every boot, by a systemd mount unit.

    systemd runs the mount, so that restarting the minion never takes it away. The unit is ordered
    after the network and after a glusterd of the same node. systemd has no retry for mounts; here a
    companion service, ``<unit>-retry.service``, starts with the mount and starts it again every ten
    seconds until it succeeds, so a whole site may boot in any order. A volume that is gone does not
    hold up the boot (``nofail``); a unit that needs it says ``RequiresMountsFor=``.

    Never mounts twice, and mounts anew only if the process that served the mount has died, or if
    told by ``remount``. Units that differ are rewritten and hold from the next mount on.

    .. code-block:: yaml

        /srv/shared:
          gluster.mounted:
            - volume: shared
            - servers: [db-1, db-2, db-3]

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
        return __utils__["gluster.failed"](ret, error, __opts__["test"])
    ret["comment"] = _mount_words(name, plan, "was")
    return ret


def unmounted(name):
    """
    Have a volume not mounted, now and after the next boot: what :py:func:`mounted` made is removed.

    The mount point stays as an empty directory, and the volume with its files as it is. A mount
    that is in use makes the state fail, and so does one of another kind than Gluster's.

    .. code-block:: yaml

        /srv/shared:
          gluster.unmounted

    name
        The mount point.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        before = __salt__["gluster.mount_status"](name)
        if before["mounted"] and before["fstype"] != "fuse.glusterfs":
            raise CommandExecutionError(
                f"{name} was left as it is: {before['source']} of type {before['fstype']} is "
                "mounted there"
            )
        plan = {}
        if before["mounted"]:
            plan["mounted"] = {"old": before["source"], "new": None}
        if units := __salt__["gluster.remove_mount_units"](name, test=True):
            plan["units"] = {"old": units, "new": None}
        if __opts__["test"]:
            ret["result"], ret["changes"] = None if plan else True, plan
            ret["comment"] = f"{name} would be unmounted" if plan else f"{name} is not mounted"
            return ret
        # Also without a mount there may be a companion that goes on trying.
        if plan:
            __salt__["gluster.unmount"](name)
            ret["changes"] = {key: plan[key] for key in plan if key == "mounted"}
            __salt__["gluster.remove_mount_units"](name)
            ret["changes"] = plan
        after = __salt__["gluster.mount_status"](name)
        if after["mounted"]:
            raise CommandExecutionError(f"{name} is still mounted: {after['source']}")
    except CommandExecutionError as error:
        return __utils__["gluster.failed"](ret, error, __opts__["test"])
    ret["comment"] = f"{name} was unmounted" if plan else f"{name} is not mounted"
    return ret


def directory(name, mount, user="root", group="root", mode="0755"):
    """
    Have a directory on a mounted volume, and none below its mount point while it is not mounted.

    Without the mount nothing is done, and the state succeeds: that the volume is mounted is what
    :py:func:`mounted` is for. It takes the place of ``file.directory`` with an ``onlyif``, for
    which Salt loads every state module that there is: half a second of processor time a run.

    .. code-block:: yaml

        /srv/shared/oplog:
          gluster.directory:
            - mount: /srv/shared
            - mode: '0700'

    name
        The directory, an absolute path below the mount point. Its parents are not made.
    mount
        The mount point.
    user, group
        Names of its owner and group.
    mode
        Its permissions, as text of octal digits.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    below = os.path.normpath(name).startswith(os.path.normpath(mount).rstrip("/") + "/")
    if not below:
        ret["result"] = False
        ret["comment"] = f"{name} does not lie below {mount}: name a directory of that volume"
        return ret
    try:
        mounted_now = __salt__["gluster.mount_status"](mount)["mounted"]
    except CommandExecutionError as error:
        return __utils__["gluster.failed"](ret, error, __opts__["test"])
    if not mounted_now:
        ret["comment"] = f"{name} was left as it is: {mount} is not mounted"
        return ret
    return __states__["file.directory"](name, user=user, group=group, mode=mode)


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
