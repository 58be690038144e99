"""
Keep GlusterFS nodes in one pool: the part of ``gluster`` for peers.
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

    What only an operator can decide fails with the remedy: a peer whose volumes differ from the
    pool's, a node that lost its list of peers, a new machine under an old name.

    .. code-block:: yaml

        storage pool:
          gluster.peered:
            - peers: [db-1, db-2, db-3]

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
        # No probe takes a new machine in that has the name of an old one; nor does waiting.
        if missing and (words := __salt__["gluster.replaced"](peers)):
            raise CommandExecutionError("; ".join(words))
        if __opts__["test"] and missing:
            ret["result"], ret["changes"] = None, {"probed": missing}
            ret["comment"] = f"{', '.join(missing)} would be probed"
            return ret
        try:
            if missing:
                added = __salt__["gluster.gather"](peers, timeout=timeout)
                ret["changes"] = {"probed": added} if added else {}
            __salt__["gluster.wait_peers"](peers, timeout=0 if __opts__["test"] else timeout)
        except CommandExecutionError:
            found = __salt__["gluster.find_peers"](peers)
            added = [host for host in missing if found[host]["member"]]
            ret["changes"] = {"probed": added} if added else {}
            raise
    except CommandExecutionError as error:
        return __utils__["gluster.failed"](ret, error, __opts__["test"])
    ret["comment"] = f"{', '.join(peers)} are in the pool and connected"
    return ret


def detached(name, confirm=None, force=False):
    """
    Have a host in no pool with the node that this runs on.

    .. code-block:: yaml

        db-4:
          gluster.detached:
            - confirm: db-4

    name
        Name or address of the host. One that does not resolve is looked for by name only.
    confirm
        The same once more: the host forgets all volumes of the pool. Without it the state fails,
        unless there is nothing to do.
    force
        True to detach it also if glusterd would rather not. It never takes out a host with bricks.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        if not __salt__["gluster.is_member"](name):
            ret["comment"] = f"{name} is not in the pool"
            return ret
        if confirm != name:
            # Words that name what is lost come from the function, which refuses too.
            __salt__["gluster.detach"](name)
        change = {"detached": name}
        if __opts__["test"]:
            ret["result"], ret["changes"] = None, change
            ret["comment"] = f"{name} would be detached"
            return ret
        __salt__["gluster.detach"](name, force=force, confirm=confirm)
        ret["changes"] = change
        if __salt__["gluster.is_member"](name):
            raise CommandExecutionError(f"{name} is still in the pool after it was detached")
    except CommandExecutionError as error:
        return __utils__["gluster.failed"](ret, error, __opts__["test"])
    ret["comment"] = f"{name} was detached"
    return ret


def op_version(name, version="max"):
    """
    Have the pool at an operating version or above it. It is never lowered: glusterd cannot.

    .. code-block:: yaml

        operating version:
          gluster.op_version:
            - version: max

    name
        A label, for the state's ID only.
    version
        The least one, e.g. 100000, or ``max`` for the highest that all members support.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        now, highest = __salt__["gluster.op_version"](), __salt__["gluster.max_op_version"]()
        if version != "max" and not str(version).isdecimal():
            raise CommandExecutionError(f"version must be 'max' or a whole number, not {version!r}")
        wanted = highest if version == "max" else int(version)
        if wanted <= now:
            ret["comment"] = f"The pool runs at op-version {now}"
            return ret
        if wanted > highest:
            raise CommandExecutionError(
                f"the pool runs at op-version {now} and was left there: not all members support "
                f"{wanted}, but {highest} at most. Upgrade those that are older first"
            )
        change = {"op_version": {"old": now, "new": wanted}}
        if __opts__["test"]:
            ret["result"], ret["changes"] = None, change
            ret["comment"] = f"The op-version would be raised from {now} to {wanted}"
            return ret
        after = __salt__["gluster.set_op_version"](wanted)
        ret["changes"] = {"op_version": {"old": now, "new": after}}
        if after < wanted:
            raise CommandExecutionError(f"the op-version is {after} after it was set to {wanted}")
    except CommandExecutionError as error:
        return __utils__["gluster.failed"](ret, error, __opts__["test"])
    ret["comment"] = f"The op-version was raised from {now} to {after}"
    return ret
