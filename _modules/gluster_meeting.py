"""
Tell whether the nodes of a GlusterFS pool see each other: the part of ``gluster`` for that.

:depends: the ``gluster`` command. Works with glusterfs 10 and 11.

After the start of a glusterd each of the others connects with it at a time of its own, and it lists
them before they list it. A command is put to all members that the node which gives it is connected
with. One that has a brick is refused by any of them that does not see the brick's host yet; by then
others have marked their directories as bricks, so that it cannot just be said again.
"""

import salt.utils.platform
from salt.exceptions import CommandExecutionError

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def unmet(hosts=None):
    """
    Tell which members of the pool do not see which others connected and in the cluster.

    Those are asked that this node itself sees so; of all others :py:func:`peers` tells.

    :param list hosts: names or addresses of those who have to be seen; this node itself may be
        among them, and who is no member is left out. By default all members.
    :returns: list of words such as "db-2 does not see db-3 (disconnected)", empty if there is none.
    :raises CommandExecutionError: if this node's glusterd does not answer.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.unmet
    """
    known = __salt__["gluster.peers"]()
    ready = [peer for peer in known if peer["ready"]]
    if not ready:
        return []
    own = __utils__["gluster_node.own_uuid"](_gluster("system::", "uuid", "get"))
    wanted = {own: "this node", **{peer["uuid"]: peer["hostname"] for peer in ready}}
    if hosts is not None:
        members = [host for host in hosts if __salt__["gluster.is_member"](host, known)]
        found = __salt__["gluster.find_peers"](members, known) if members else {}
        named = {own if seen["self"] else seen["uuid"] for seen in found.values()}
        wanted = {uuid: name for uuid, name in wanted.items() if uuid in named}
    words = []
    for peer in ready:
        asked = peer["hostname"]
        try:
            answer = _gluster(__utils__["gluster.at"](asked), "peer", "status")
        except CommandExecutionError as error:
            words.append(f"{asked} does not say whom it sees: {error}")
            continue
        seen = {other["uuid"]: other for other in __utils__["gluster.peers"](answer)}
        for uuid in wanted.keys() - {peer["uuid"]}:
            other = seen.get(uuid, {"ready": False, "connected": True, "state": "not a peer"})
            if not other["ready"]:
                state = other["state"] if other["connected"] else "disconnected"
                words.append(f"{asked} does not see {wanted[uuid]} ({state})")
    return sorted(words)


def wait_met(hosts=None, timeout=30):
    """
    Wait until the members of the pool that this node is connected with see each other, too.

    :param list hosts: as for :py:func:`unmet`. Who is not in the pool, or not connected with this
        node, is not waited for.
    :param float timeout: seconds to wait at most.
    :returns: True.
    :raises CommandExecutionError: when the time is over, with who does not see whom.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.wait_met timeout=60
    """
    for _ in __utils__["gluster.attempts"](timeout):
        words = unmet(hosts)
        if not words:
            return True
    raise CommandExecutionError(f"the pool is not whole after {timeout} s: {'; '.join(words)}")


def _gluster(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience)
