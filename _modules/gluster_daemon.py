"""
Restart what of Gluster runs on a node: the part of ``gluster`` for its daemons.

:depends: the ``gluster`` command, and glusterd as systemd's unit ``glusterd``. Works with glusterfs
    10 and 11.
"""

import salt.utils.platform
from salt.exceptions import CommandExecutionError

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def restart(volume, timeout=90):
    """
    Restart glusterd, the bricks and the self-heal daemon of this node, and wait for its bricks.

    All connections to them end, and clients connect anew: by the certificates of now, also where
    they have begun with others. A volume with copies goes on with those of the other nodes; what is
    written meanwhile is healed afterwards (see :py:func:`wait_healed`).

    :param str volume: its name.
    :param float timeout: seconds to wait at most for glusterd's answer, and for the bricks.
    :returns: list of this node's bricks of the volume, ``host:/path`` each.
    :raises CommandExecutionError: if there is no such volume, another copy of what this node holds
        is offline or has files to be healed, glusterd does not start, or a brick does not come
        back.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.restart shared
    """
    made_of = __salt__["gluster.info"](volume)
    uuid = __utils__["gluster_node.own_uuid"](_gluster("system::", "uuid", "get"))
    own = [item["name"] for item in made_of["bricks"] if item["uuid"] == uuid]
    before = _processes(volume, own)
    copied = made_of["replica"] > 1 or made_of["disperse"]
    reasons = __salt__["gluster.hindrances"](volume, own) if own and copied else []
    if reasons:
        raise CommandExecutionError(
            f"Gluster was not restarted on this node, which others need: {'; '.join(reasons)}"
        )
    # Debian's unit allows six starts an hour, by whomever. That of RedHat leaves bricks be.
    for verb in ("reset-failed", "kill"):
        argv = ["systemctl", verb, "glusterd"]
        __salt__["cmd.run_all"](argv, python_shell=False, ignore_retcode=True)
    for verb in ("stop", "start"):
        __utils__["gluster.succeed"](["systemctl", verb, "glusterd"], __salt__["cmd.run_all"])
    _wait_answer(timeout)
    if own:
        __salt__["gluster.wait_online"](volume, timeout, own)
    after = _processes(volume, own)
    same = [name for name in own if before[name] == after[name]]
    if same:
        raise CommandExecutionError(f"{', '.join(same)}: its process has outlived the restart")
    return own


def _processes(volume, names):
    """Return the process IDs of bricks by name, None for one that is offline."""
    bricks = __salt__["gluster.status"](volume)["bricks"]
    return {item["name"]: item["pid"] for item in bricks if item["name"] in names}


def _wait_answer(timeout):
    for last in __utils__["gluster.attempts"](timeout):
        try:
            __salt__["gluster.volumes"]()
        except CommandExecutionError:
            if last:
                raise
        else:
            return


def _gluster(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience)
