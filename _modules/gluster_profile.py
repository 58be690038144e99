"""
Measure what the bricks of a Gluster volume do: the part of ``gluster`` for profiles.

:depends: the ``gluster`` command. Works with glusterfs 10 and 11.
"""

import salt.utils.platform
from salt.exceptions import CommandExecutionError

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def profile_start(volume):
    """
    Begin to measure a volume: count operations and their latencies on each brick. Return True.

    It costs the bricks a little time for each operation, until :py:func:`profile_stop`.

    :param str volume: its name.
    :raises CommandExecutionError: if there is no such volume, or it is measured already.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.profile_start shared
    """
    _profile(volume, "start")
    return True


def profile_info(volume, part=None, peek=False):
    """
    Return what was measured in all, and since the last call of this.

    Bytes and blocks are counted since the brick started, operations since :py:func:`profile_start`.

    :param str volume: its name.
    :param str part: ``cumulative`` or ``interval`` for that part alone. Default: both.
    :param bool peek: True to leave the interval open, so that the next call tells it again.
    :returns: list of dicts, one for each brick that answered: ``name`` as ``host:/path``,
        ``cumulative`` and ``interval``, each None or a dict with ``duration`` (seconds), ``read``
        and ``written`` (bytes), ``blocks`` (dict of block size in bytes, as text, to ``reads`` and
        ``writes``) and ``fops`` (dict of operation, e.g. "WRITE", to ``hits`` and ``min``,
        ``average`` and ``max`` latency in microseconds, None where none was measured).
    :raises CommandExecutionError: if there is no such volume, or it is not measured.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.profile_info shared part=cumulative
    """
    words = {None: [], "cumulative": ["cumulative"], "interval": ["incremental"]}
    if part not in words:
        raise CommandExecutionError(f"part must be 'cumulative' or 'interval', not {part!r}")
    # glusterd has no "cumulative peek": that part never ends an interval.
    peeking = ["peek"] if peek and part != "cumulative" else []
    answer = _profile(volume, "info", *words[part], *peeking)
    return __utils__["gluster_profile.bricks"](answer)


def profile_stop(volume):
    """
    Stop measuring a volume. Return True.

    :param str volume: its name.
    :raises CommandExecutionError: if there is no such volume, or it is not measured.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.profile_stop shared
    """
    _profile(volume, "stop")
    return True


def _profile(volume, *words):
    volume = __utils__["gluster_declared.volume_name"](volume)
    return _gluster("volume", "profile", volume, *words)


def _gluster(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience)
