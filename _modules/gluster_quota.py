"""
Limit what directories of a Gluster volume may hold: the part of ``gluster`` for quotas.

:depends: the ``gluster`` command. Works with glusterfs 10 and 11.

How soon a limit is enforced is set by the options ``features.soft-timeout`` (60 s; how often usage
is looked up below the soft limit) and ``features.hard-timeout`` (5 s; above it): a fast writer gets
past its limit by what it writes in that time. 0 looks it up on each write.
"""

import salt.utils.platform
from salt.exceptions import CommandExecutionError

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def quota_enable(volume, timeout=60):
    """
    Turn quotas on for a volume, and wait until they can be told.

    glusterd then walks through all files of each brick once, to count what is there.

    :param str volume: its name.
    :param float timeout: seconds to wait for the quota daemon of this node.
    :returns: True if this call turned them on, False if they were.
    :raises CommandExecutionError: if there is no such volume, it is not started, or the time is
        over.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.quota_enable shared
    """
    enabled = _enabled(volume)
    if not enabled:
        _gluster("volume", "quota", volume, "enable")
    for last in __utils__["gluster.attempts"](timeout):
        try:
            _limits(volume, "list")
            break
        except CommandExecutionError:
            if last:
                raise
    return not enabled


def quota_disable(volume, confirm=None):
    """
    Turn quotas off for a volume. All limits and counts are lost. Return True.

    :param str volume: its name.
    :param str confirm: its name once more; without it nothing is done.
    :raises CommandExecutionError: without the confirmation, naming the limits, or if quotas are
        off.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.quota_disable shared confirm=shared
    """
    if confirm != volume:
        limits = ", ".join(quotas(volume)) or "none"
        raise CommandExecutionError(
            f"quotas of volume {volume} were not disabled, which loses its limits ({limits}): say "
            f"confirm={volume}"
        )
    _gluster("volume", "quota", volume, "disable")
    return True


def quota_limit(volume, path, size=None, soft=None, objects=None):
    """
    Limit what a directory of a volume may hold, and return the limit as :py:func:`quotas` tells it.

    :param str volume: its name.
    :param str path: an existing directory, from the volume's root, e.g. ``/logs``; ``/`` for all.
    :param size: bytes, or text such as ``10GB`` (1024 each); writes beyond it fail with EDQUOT.
    :param soft: percentage of the limits above which glusterd logs a warning. Default: 80, or what
        option ``features.default-soft-limit`` says.
    :param int objects: files and directories, itself included; what is created beyond it fails.
    :raises CommandExecutionError: if quotas are off, the directory is missing, a limit makes no
        sense, or none is given.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.quota_limit shared / 100GB soft=90
    """
    path = __utils__["gluster_quota.path"](path)
    if size is None and objects is None:
        raise CommandExecutionError(f"no limit for {path} of volume {volume}: give size or objects")
    wanted = []
    if size is not None:
        wanted.append(("limit-usage", __utils__["gluster_quota.size"](size)))
    if objects is not None:
        wanted.append(("limit-objects", __utils__["gluster_quota.count"](objects)))
    percent = [] if soft is None else [__utils__["gluster_quota.percent"](soft)]
    volume = __utils__["gluster_declared.volume_name"](volume)
    for verb, value in wanted:
        _gluster("volume", "quota", volume, verb, path, str(value), *percent)
    return quotas(volume)[path]


def quota_unlimit(volume, path):
    """
    Remove the limits of a directory. Return True.

    :param str volume: its name.
    :param str path: the directory, from the volume's root.
    :raises CommandExecutionError: if quotas are off, or it has no limit.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.quota_unlimit shared /
    """
    path = __utils__["gluster_quota.path"](path)
    found = quotas(volume).get(path)
    if found is None:
        raise CommandExecutionError(f"{path} of volume {volume} has no limit")
    if found["limit"] is not None:
        _gluster("volume", "quota", volume, "remove", path)
    if found["objects"]:
        _gluster("volume", "quota", volume, "remove-objects", path)
    return True


def quotas(volume):
    """
    Return the limits of a volume's directories, and what they hold.

    :param str volume: its name.
    :returns: dict of path to a dict with ``limit`` and ``soft_limit`` (bytes), ``soft_percent``,
        ``used`` and ``available`` (bytes), ``soft_exceeded``, ``exceeded`` (bools), each None if
        its size is not limited, and ``objects``: None, or a dict of the same for the number of
        files and directories.
    :raises CommandExecutionError: if there is no such volume, or quotas are off.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.quotas shared
    """
    sizes, objects = _limits(volume, "list"), _limits(volume, "list-objects")
    unlimited = dict.fromkeys(
        ("limit", "soft_percent", "soft_limit", "used", "available", "soft_exceeded", "exceeded")
    )
    return {
        path: {**sizes.get(path, unlimited), "objects": objects.get(path)}
        for path in sorted({*sizes, *objects})
    }


def _enabled(volume):
    return __salt__["gluster.info"](volume)["options"].get("features.quota") == "on"


def _limits(volume, verb):
    volume = __utils__["gluster_declared.volume_name"](volume)
    try:
        return __utils__["gluster_quota.limits"](_gluster("volume", "quota", volume, verb))
    except CommandExecutionError as error:
        if __utils__["gluster_quota.no_limits"](error):
            return {}
        raise


def _gluster(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience)
