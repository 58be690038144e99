"""
Manage the mounts of Gluster volumes, by systemd units: the part of ``gluster`` for clients.

:depends: systemd and ``mount.glusterfs`` (Debian: ``glusterfs-client``, RedHat:
    ``glusterfs-fuse``). Works with glusterfs 10 and 11.
"""

import difflib
import pathlib

import salt.utils.atomicfile
import salt.utils.platform
from salt.exceptions import CommandExecutionError

UNIT_DIRECTORY = "/etc/systemd/system"
# Seconds for a mount to answer that was just made; one whose bricks are down does not.
ANSWER = 5
# How the units begin that mount_units wrote.
WRITTEN = "# Written by Salt (gluster.mounted)"

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def mount_status(path):
    """
    Return whether and how a path is mounted, and what systemd knows about it.

    :param str path: the mount point.
    :returns: dict with ``mounted`` (bool), ``count`` (mounts on top of each other there),
        ``source``, ``fstype`` and ``options`` of the topmost (None if not mounted), ``alive``
        (bool: a process serves the mount; a dead one leaves a mount that answers every access with
        an error), ``unit``, ``enabled`` (bool) and ``active`` (systemd's word, e.g. "failed").
    :raises CommandExecutionError: if systemd does not answer.

    CLI Example:

    .. code-block:: bash

        salt web-1 gluster.mount_status /srv/shared
    """
    mountinfo = pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    found = __utils__["gluster_mount.mounts"](mountinfo, path)
    top = found[-1] if found else {"source": None, "fstype": None, "options": None}
    unit = __utils__["gluster_mount.unit_name"](path)
    # list-unit-files and show answer for units that are not there, where is-enabled fails.
    shown = _systemctl("show", "--property=ActiveState,UnitFileState", unit)
    words = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return {
        "mounted": bool(found),
        "count": len(found),
        **top,
        "alive": top["fstype"] == "fuse.glusterfs" and _mount_process(path),
        "unit": unit,
        "enabled": words.get("UnitFileState") == "enabled",
        "active": words.get("ActiveState", "unknown"),
    }


def mount_units(path, volume, servers, options=None, test=False):
    """
    Write the systemd units that keep a volume mounted, where they differ, and enable the mount.

    The mount itself is left as it is: what was written holds from the next mount on.

    The units are a mount unit and a companion service that starts with it, and starts it again
    every ten seconds until it succeeds. systemd itself never repeats a failed mount, so a node that
    boots before the storage nodes would stay without the volume. ``systemctl stop`` on the mount
    unit stays stopped. A third unit, ``<unit>-lost.service``, is for whoever finds that the mount
    has lost its client; it mounts anew.

    :param str path: the mount point; systemd makes the directory.
    :param str volume: its name.
    :param list servers: hosts to get the volume's layout from, the first that answers is taken.
        Data is read and written on all bricks at once, whatever is given here.
    :param list options: further mount options. Default: ``log-level=WARNING``.
    :param bool test: change nothing.
    :returns: dict of what differed, empty if nothing did: ``units``, a dict of file to difference
        as text, and ``enabled``.
    :raises CommandExecutionError: for a path, volume, server or option that cannot be used.

    CLI Example:

    .. code-block:: bash

        salt web-1 gluster.mount_units /srv/shared shared '[db-1, db-2, db-3]' test=True
    """
    differing = {}
    units = __utils__["gluster_mount.units"](path, volume, servers, options)
    __utils__["gluster_declared.volume_name"](volume)
    for server in servers:
        __utils__["gluster_declared.host_name"](server)
    for name, text in units.items():
        file = pathlib.Path(UNIT_DIRECTORY, name)
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        if before == text:
            continue
        differing[str(file)] = "\n".join(
            difflib.unified_diff(before.splitlines(), text.splitlines(), lineterm="", n=0)
        )
        if not test:
            with salt.utils.atomicfile.atomic_open(str(file), "w") as out:
                out.write(text)
            file.chmod(0o644)
    if differing and not test:
        _systemctl("daemon-reload")
    changes = {"units": differing} if differing else {}
    status_before = mount_status(path)
    if not status_before["enabled"]:
        changes["enabled"] = {"old": False, "new": True}
        if not test:
            _systemctl("enable", status_before["unit"])
    return changes


def mount(path, timeout=90):
    """
    Start the mount unit that :py:func:`mount_units` wrote, and wait until it is mounted.

    systemd runs the mount, so it outlives the minion. Does nothing to what is mounted already. A
    first attempt may meet bricks that are still starting; the unit's companion goes on trying, also
    after ``timeout``.

    :param str path: the mount point.
    :param float timeout: seconds to wait at most.
    :returns: :py:func:`mount_status`.
    :raises CommandExecutionError: when the time is over, with the mount's own last words.

    CLI Example:

    .. code-block:: bash

        salt web-1 gluster.mount /srv/shared
    """
    unit = __utils__["gluster_mount.unit_name"](path)
    _systemctl("start", "--no-block", unit)
    for _ in __utils__["gluster.attempts"](timeout):
        now = mount_status(path)
        if now["alive"] and now["active"] == "active":
            # A client mounts before it has asked for its volume, and leaves when there is none. It
            # answers no one before it has the volume.
            __salt__["cmd.run_all"](
                ["timeout", "--signal=KILL", str(ANSWER), "stat", "--file-system", path],
                python_shell=False,
                ignore_retcode=True,
            )
            now = mount_status(path)
            if now["alive"] and now["active"] == "active":
                return now
    raise CommandExecutionError(
        f"{path} not mounted after {timeout} s, attempts go on in the background: "
        f"{_mount_failure(path, unit)}"
    )


def unmount(path):
    """
    Stop a mount unit and its companion, so that it stays unmounted until the next boot or start.

    :param str path: the mount point.
    :returns: True.
    :raises CommandExecutionError: if it cannot be unmounted, because files on it are open, say.

    CLI Example:

    .. code-block:: bash

        salt web-1 gluster.unmount /srv/shared
    """
    unit = __utils__["gluster_mount.unit_name"](path)
    _systemctl("stop", unit.removesuffix(".mount") + "-retry.service", unit)
    return True


def wait_connected(path, timeout=60):
    """
    Wait until a mount has a connection to every brick of its volume.

    A client reaches a brick that was restarted some seconds after the servers call it online. Until
    then it lacks that copy, and the loss of another one can take its quorum.

    :param str path: the mount point.
    :param float timeout: seconds to wait at most.
    :returns: bool, whether a volume is mounted there; where none is nobody has to connect.
    :raises CommandExecutionError: when the time is over, with the clients that have no connection
        as Gluster numbers them, or with what is wrong with the mount.

    CLI Example:

    .. code-block:: bash

        salt web-1 gluster.wait_connected /srv/shared
    """
    if not mount_status(path)["mounted"]:
        return False
    words = ""
    for _ in __utils__["gluster.attempts"](timeout):
        try:
            away = __utils__["gluster_mount.unconnected"](path)
        except OSError as error:
            words = f"cannot be looked into: {error.strerror}"
            continue
        if not away:
            return True
        words = f"has no connection as {', '.join(away)}"
    raise CommandExecutionError(f"after {timeout} s {path} {words}")


def remove_mount_units(path, test=False):
    """
    Disable and remove the units that :py:func:`mount_units` wrote; what is mounted stays mounted.

    :param str path: the mount point.
    :param bool test: change nothing.
    :returns: list of the files removed, empty if there were none. Units that someone else wrote
        are none of them.
    :raises CommandExecutionError: if systemd does not answer.

    CLI Example:

    .. code-block:: bash

        salt web-1 gluster.remove_mount_units /srv/shared test=True
    """
    unit = __utils__["gluster_mount.unit_name"](path)
    removed = []
    stem = unit.removesuffix(".mount")
    for name in (unit, f"{stem}-retry.service", f"{stem}-lost.service"):
        file = pathlib.Path(UNIT_DIRECTORY, name)
        if file.exists() and file.read_text(encoding="utf-8").startswith(WRITTEN):
            removed.append(str(file))
    if removed and not test:
        _systemctl("disable", "--quiet", unit)
        for file in removed:
            pathlib.Path(file).unlink()
        _systemctl("daemon-reload")
    return removed


def _systemctl(*words):
    result = __salt__["cmd.run_all"](["systemctl", *words], python_shell=False, ignore_retcode=True)
    if result["retcode"]:
        text = (result["stderr"] or result["stdout"]).replace("\n", " ")
        raise CommandExecutionError(f"systemctl {' '.join(words)}: {text} ({result['retcode']})")
    return result["stdout"]


def _mount_failure(path, unit):
    """Return in words why the last attempt to mount failed: mount's own, then the client log's."""
    journal = __salt__["cmd.run_all"](
        [
            "journalctl",
            f"_SYSTEMD_UNIT={unit}",
            "--lines=2",
            "--output=cat",
            "--no-pager",
            "--quiet",
        ],
        python_shell=False,
        ignore_retcode=True,
    )
    words = journal["stdout"].splitlines()
    result = _systemctl("show", "--property=Result", unit).strip()
    words = words or [f"systemd says {result}"]
    log = pathlib.Path("/var/log/glusterfs", path.strip("/").replace("/", "-") + ".log")
    if log.exists():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-200:]
        errors = [line.partition("] 0-")[2] for line in lines if "] E [" in line]
        words += [f"{log} says {error}" for error in errors[-1:]]
    return " | ".join(words)


def _mount_process(path):
    """Tell whether a glusterfs client process for this mount point is running."""
    mount_point = ("/" + path.strip("/")).encode()
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = entry.read_bytes().rstrip(b"\0").split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if argv[0].endswith(b"glusterfs") and argv[-1] == mount_point:
            return True
    return False
