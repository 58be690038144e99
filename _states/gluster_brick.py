"""
Keep the bricks of Gluster volumes as declared: the part of ``gluster`` for replacing and balancing.
"""

from salt.exceptions import CommandExecutionError

# A volume option that glusterd keeps for others and makes nothing of itself.
MARK = "user.salt-rebalanced"
# Nodes that make the same new directory at the same time count a failure; the next run has none.
RUNS = 3

__virtualname__ = "gluster"


def __virtual__():
    if "gluster.replace_brick" not in __salt__:
        return False, "gluster: the gluster execution module is not there"
    return __virtualname__


def brick_replaced(name, volume, old, new, force=False, timeout=600):
    """
    Have a brick of a volume replaced by another one, which gets its data from the other copies.

    Refused, with the reasons, unless the rest of the volume is well: all other bricks online, no
    split-brain, and nothing to be healed but what waits for an old brick that is offline. The files
    on the old brick stay there. For a new disk under the same path use ``gluster.reset_brick``.

    .. code-block:: yaml

        brick of the broken disk:
          gluster.brick_replaced:
            - volume: shared
            - old: db-3:/srv/gluster/disk1/brick
            - new: db-3:/srv/gluster/disk2/brick

    name
        A label, for the state's ID only.
    volume
        The volume's name. It must be started and keep copies, or be erasure-coded.
    old
        The brick to take out, ``host:/path``; it may be lost already.
    new
        The one to put into its place; the directory above it must exist. With this one in the
        volume and not the old one, nothing is done.
    force
        Also if another brick of the set is on the new one's host.
    timeout
        Seconds to wait for the new brick to be complete. Healing goes on after them.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        old = __utils__["gluster_declared.brick"](old)["name"]
        new = __utils__["gluster_declared.brick"](new)["name"]
        bricks = _bricks(volume)
        if new in bricks and old not in bricks:
            ret["comment"] = f"Brick {new} is in volume {volume}, {old} is not"
            return ret
        if old not in bricks or new in bricks:
            raise CommandExecutionError(
                f"volume {volume} was left as it is: it has {', '.join(bricks)}, so {old} cannot "
                f"be replaced by {new}"
            )
        change = {"brick": {"old": old, "new": new}}
        if __opts__["test"]:
            reasons = __salt__["gluster.hindrances"](volume, [old])
            if reasons:
                raise CommandExecutionError(
                    f"volume {volume} would be left as it is: {'; '.join(reasons)}"
                )
            ret["result"], ret["changes"] = None, change
            ret["comment"] = f"Brick {old} of volume {volume} would be replaced by {new}"
            return ret
        try:
            __salt__["gluster.replace_brick"](volume, old, new, force=force)
            ret["changes"] = change
        except CommandExecutionError:
            # The same state on another node may have done it meanwhile.
            bricks = _bricks(volume)
            if new not in bricks or old in bricks:
                raise
        __salt__["gluster.wait_healed"](volume, timeout=timeout, launch=True)
    except CommandExecutionError as error:
        return __utils__["gluster.failed"](ret, error, __opts__["test"])
    ret["comment"] = f"Brick {old} of volume {volume} was replaced by {new}, which is complete"
    return ret


def rebalanced(name, force=False, timeout=3600):
    """
    Have a volume's files spread over all of its sets of bricks, those added later too.

    glusterd cannot tell whether a volume is balanced: it calls its last rebalance completed even
    after sets were added. So this state notes, as the volume's option ``user.salt-rebalanced``,
    which rebalance it has seen complete without failures over how many sets. It runs another one
    where that is no longer glusterd's last one or the number of sets has changed: after sets were
    added, after any brick was removed (also one copy of each), and after a rebalance by hand. A
    volume of one set has nothing to spread. Files that were written meanwhile or that would have
    gone to a fuller brick may lie elsewhere than a fresh volume would have them, and are found.

    .. code-block:: yaml

        shared:
          gluster.rebalanced:
            - require:
              - gluster: volume with all its bricks

    name
        The volume's name. It must be started.
    force
        Also move files to bricks that are fuller than the one they are on.
    timeout
        Seconds to wait for the rebalance. It goes on after them, and the next run of this state
        waits for the same one.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        volume = __salt__["gluster.info"](name)
        sets = __utils__["gluster_layout.replica_sets"](volume)
        if not volume["started"]:
            raise CommandExecutionError(f"volume {name} is {volume['status']}, not Started")
        if len(sets) == 1:
            ret["comment"] = f"Volume {name} has one set of bricks: nothing to spread"
            return ret
        found = __salt__["gluster.rebalance_status"](name)
        if found["status"] == "completed" and volume["options"].get(MARK) == _mark(volume, found):
            ret["comment"] = f"Volume {name} is rebalanced over its {len(sets)} sets"
            return ret
        if __opts__["test"]:
            ret["result"], ret["changes"] = None, {"rebalance": {"old": None, "new": "completed"}}
            ret["comment"] = f"Volume {name} would be rebalanced over its {len(sets)} sets"
            return ret
        found = _rebalance(ret, name, found, force, timeout)
        # The volume as it was before: sets that were added since are none that it has seen.
        __salt__["gluster.set_options"](name, {MARK: _mark(volume, found)})
        ret["changes"] = {"rebalance": {"old": None, "new": "completed"}}
    except CommandExecutionError as error:
        return __utils__["gluster.failed"](ret, error, __opts__["test"])
    ret["comment"] = (
        f"Volume {name} was rebalanced over its {len(sets)} sets: {found['files']} files "
        f"({found['bytes']} bytes) moved"
    )
    return ret


def _rebalance(ret, name, found, force, timeout):
    for run in range(RUNS):
        if found["status"] != "in progress":
            try:
                __salt__["gluster.rebalance"](name, force=force)
                ret["changes"] = {"rebalance": {"old": None, "new": "in progress"}}
            except CommandExecutionError:
                # The same state on another node may have begun one meanwhile.
                if __salt__["gluster.rebalance_status"](name)["status"] != "in progress":
                    raise
        found = __salt__["gluster.wait_rebalanced"](name, timeout=timeout)
        # One that has looked at no file at all began before a brick answered, or there are none.
        if not found["failures"] and not found["layout_only"] and (found["scanned"] or run):
            return found
    words = __utils__["gluster_brick.progress"](found)
    raise CommandExecutionError(
        f"rebalance of volume {name} {words}, also in the last of {RUNS} runs: see the rebalance "
        "log on its hosts"
    )


def _mark(volume, found):
    return __utils__["gluster_layout.rebalance_mark"](volume, found["task"])


def _bricks(volume):
    return [item["name"] for item in __salt__["gluster.info"](volume)["bricks"]]
