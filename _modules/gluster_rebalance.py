"""
Spread a Gluster volume's files over all of its sets of bricks.

:depends: the ``gluster`` command. Works with glusterfs 10 and 11.
"""

import functools

import salt.utils.platform
from salt.exceptions import CommandExecutionError

# What glusterd says when there is no rebalance to tell the status of.
_NOT_STARTED = "Rebalance not started for volume"

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def rebalance(volume, fix_layout=False, force=False):
    """
    Begin to spread a volume's files over all of its sets of bricks, in the background.

    :param str volume: its name; it must be started and have more than one set.
    :param bool fix_layout: only have new files go to all sets; those that exist stay in place.
    :param bool force: also move files to bricks that are fuller than the one they are on.
    :returns: the task's ID, a str.
    :raises CommandExecutionError: if the volume has one set only or is not started, or another
        rebalance or remove-brick is under way.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.rebalance shared
    """
    volume = __utils__["gluster_declared.volume_name"](volume)
    if fix_layout and force:
        raise CommandExecutionError("fix_layout and force exclude each other: one moves no files")
    words = [*(["fix-layout"] if fix_layout else []), "start", *(["force"] if force else [])]
    return _gluster("volume", "rebalance", volume, *words).findtext("volRebalance/task-id")


def rebalance_status(volume):
    """
    Return how far the last rebalance of a volume has come.

    That it is completed says nothing of sets that were added after it; see the state
    ``gluster.rebalanced``.

    :param str volume: its name; it must be started and have more than one set.
    :returns: dict with ``status`` ("not started", "in progress", "completed", "failed", "stopped",
        "unknown" if a node at work on it cannot be reached), ``task`` (its ID, else None),
        ``layout_only`` (bool: it moves no files), the sums ``files`` and ``bytes`` (moved),
        ``scanned``, ``failures`` and ``skipped`` (files that would have gone to a fuller brick),
        ``seconds``, and ``nodes``, a list of dicts with ``host``, ``uuid``, ``status`` and the same
        numbers.
    :raises CommandExecutionError: if the volume has one set only or is not started.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.rebalance_status shared
    """
    made_of = __salt__["gluster.info"](volume)
    try:
        answer = _gluster("volume", "rebalance", volume, "status")
    except CommandExecutionError as error:
        # Also said of one that was stopped, and once bricks have been removed.
        if _NOT_STARTED not in str(error):
            raise
        answer = None
    return __utils__["gluster_brick.migration"](answer, made_of)


def rebalance_stop(volume, timeout=30):
    """
    Stop a volume's rebalance. What has been moved, or is just under way, stays moved.

    :param str volume: its name.
    :param float timeout: seconds to wait at most for a node that has not begun to move files, and
        would not hear that it shall stop.
    :returns: dict as from :py:func:`rebalance_status`, of how far it had come.
    :raises CommandExecutionError: if none is under way, or a node has not begun in time: nothing is
        stopped then.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.rebalance_stop shared
    """
    made_of = __salt__["gluster.info"](volume)
    look = functools.partial(__salt__["gluster.rebalance_status"], volume)
    before = __utils__["gluster_brick.begun"](volume, look, __utils__["gluster.attempts"](timeout))
    answer = _gluster("volume", "rebalance", volume, "stop")
    return __utils__["gluster_brick.stopped"](
        before, __utils__["gluster_brick.migration"](answer, made_of)
    )


def wait_rebalanced(volume, timeout=600):
    """
    Wait until a volume's rebalance has completed, then return :py:func:`rebalance_status`.

    :param str volume: its name.
    :param float timeout: seconds to wait at most. The rebalance itself goes on after them.
    :raises CommandExecutionError: when the time is over; at once if it has failed or been stopped,
        or none was started. Failures with single files are no error: they are in the return.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.wait_rebalanced shared timeout=3600
    """
    for last in __utils__["gluster.attempts"](timeout):
        if not last and __utils__["gluster.migrating"](volume, __salt__["cmd.run_all"]):
            continue
        found = rebalance_status(volume)
        if found["status"] == "completed":
            return found
        if found["status"] not in ("in progress", "unknown"):
            break
    words = __utils__["gluster_brick.progress"](found)
    raise CommandExecutionError(f"rebalance of volume {volume} not completed: {words}")


def _gluster(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience)
