"""
Keep the copies of Gluster volumes the same: the part of ``gluster`` for healing.
"""

from salt.exceptions import CommandExecutionError

__virtualname__ = "gluster"


def __virtual__():
    if "gluster.peers" not in __salt__:
        return False, "gluster: the gluster execution module is not there"
    return __virtualname__


def healed(name, volume=None, timeout=300, full=False, resolve=None, source=None):
    """
    Have nothing left to heal on a volume, within a deadline.

    Where something waits, a heal is launched and waited for. Files in split-brain, whose copies
    contradict each other, are named and left as they are, unless ``resolve`` says which copy holds.

    .. code-block:: yaml

        shared:
          gluster.healed:
            - timeout: 600

    name
        The volume's name.
    volume
        The same, where the state's name has to be another.
    timeout
        Seconds to wait at most.
    full
        When something waits, walk through all files, not only those known to differ.
    resolve
        ``newest``, ``biggest`` or ``source``: the copy that holds in a split-brain. The others are
        overwritten with it.
    source
        With ``resolve: source`` the brick whose copies hold, as ``host:/path``.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    volume = volume or name
    try:
        if resolve not in (None, "newest", "biggest", "source"):
            raise CommandExecutionError(
                f"resolve must be newest, biggest or source, not {resolve!r}"
            )
        if (resolve == "source") != bool(source):
            raise CommandExecutionError("source is the brick for resolve: source, and only for it")
        before = __salt__["gluster.heal_info"](volume)
        split = _split_brain(volume) if before["split_brain"] else []
        if split and not resolve:
            raise CommandExecutionError(
                f"{len(split)} files of volume {volume} are in split-brain and were left as they "
                f"are: {', '.join(split)}. Say which copy holds with resolve: newest, biggest or "
                "source, or file by file with gluster.resolve_split_brain"
            )
        left = __utils__["gluster_heal.left"](before["bricks"])
        plan = {}
        if split:
            plan["resolved"] = {path: resolve for path in split}
        waiting = {item["name"]: item["total"] for item in before["bricks"] if item["total"]}
        if waiting:
            plan["healed"] = {
                brick: {"old": f"{count} entries", "new": "nothing left"}
                for brick, count in waiting.items()
            }
        if __opts__["test"]:
            ret["result"], ret["changes"] = None if left else True, plan
            ret["comment"] = f"Volume {volume} would be healed: {', '.join(left)}"
            if not left:
                ret["comment"] = f"Nothing waits to be healed on volume {volume}"
            return ret
        for path in split:
            __salt__["gluster.resolve_split_brain"](volume, path, by=resolve, source=source)
            ret["changes"].setdefault("resolved", {})[path] = resolve
        if waiting and full:
            __salt__["gluster.heal"](volume, full=True)
        __salt__["gluster.wait_healed"](volume, timeout=timeout, launch=True)
        ret["changes"] = plan
    except CommandExecutionError as error:
        return __utils__["gluster.failed"](ret, error, __opts__["test"])
    ret["comment"] = f"Nothing waits to be healed on volume {volume}"
    return ret


def _split_brain(volume):
    """Return the files in split-brain, each by its path, or its gfid where that is not known."""
    bricks = __salt__["gluster.heal_info"](volume, entries=True)["bricks"]
    paths = {}
    for item in bricks:
        for entry in item["entries"]:
            if entry["split_brain"]:
                key = entry["gfid"] or entry["path"]
                # One brick may know the path of a file for which another has only the gfid.
                if not paths.get(key, "").startswith("/"):
                    paths[key] = entry["path"]
    return sorted(paths.values())
