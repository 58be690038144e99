"""
Tell what waits to be healed on a Gluster volume, and heal it: the part of ``gluster`` for copies.

:depends: the ``gluster`` command; ``mount.glusterfs`` to resolve a split-brain by the newest copy.
    Works with glusterfs 10 and 11.
"""

import contextlib
import os
import pathlib
import tempfile
import time

import salt.utils.platform
from salt.exceptions import CommandExecutionError

VOLUMES = "/var/lib/glusterd/vols"
# Of a mount that lasts for a moment: a log for each would never be removed.
LOG = "/var/log/glusterfs/salt-heal.log"
# A daemon takes up on its own what waits only every ten minutes (cluster.heal-timeout).
LAUNCH_SECONDS = 10
CONNECT_SECONDS = 10
# How many files an error names.
NAMED_FILES = 10

_BY = {"newest": None, "biggest": "bigger-file", "source": "source-brick"}

__virtualname__ = "gluster"


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "gluster: GlusterFS servers and mounts are managed on Linux only"
    return __virtualname__


def heal(volume, full=False):
    """
    Launch the healing of a replicated volume. Return True; follow with :py:func:`wait_healed`.

    :param str volume: its name.
    :param bool full: walk through all files instead of those known to differ. For a brick that was
        made anew; costs a read of everything.
    :raises CommandExecutionError: if the volume is missing, not started or keeps no copies, or a
        self-heal daemon is not running. glusterd has no number for these.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.heal shared
    """
    volume = __utils__["gluster_declared.volume_name"](volume)
    _gluster_text("volume", "heal", volume, *(["full"] if full else []))
    return True


def heal_info(volume, entries=False):
    """
    Return what waits to be healed on each brick of a replicated volume.

    :param str volume: its name.
    :param bool entries: also list the files, which costs two more passes over them.
    :returns: dict with ``total``, ``pending``, ``split_brain`` and ``healing``, each the highest
        count of any brick (an entry is usually listed by several), and ``bricks``, a list of dicts:
        ``name``, ``connected`` (bool), ``reason`` (why not, else None), the same four counts (None
        if the brick could not be asked) and ``entries``: dicts of ``gfid``, ``path`` (or
        ``<gfid:…>`` where the path is not known yet) and ``split_brain`` (bool). With a file in the
        list whose name is not UTF-8, glusterd tells no ``gfid``: None.
    :raises CommandExecutionError: if the volume is not started or keeps no copies.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.heal_info shared entries=True
    """
    volume = __utils__["gluster_declared.volume_name"](volume)
    bricks = _heal(volume, "summary")
    for item in bricks:
        del item["entries"]
    if entries:
        listed = _entries(volume)
        for item in bricks:
            item["entries"] = listed.get(item["name"], [])
    counts = {
        key: max((item[key] or 0 for item in bricks), default=0)
        for key in ("total", "pending", "split_brain", "healing")
    }
    return {**counts, "bricks": bricks}


def wait_healed(volume, timeout=300, launch=False):
    """
    Wait until nothing is left to heal on any brick of a volume, and each of them could be asked.

    :param str volume: its name.
    :param float timeout: seconds to wait at most.
    :param bool launch: also launch a heal, at once and every ten seconds.
    :returns: :py:func:`heal_info`.
    :raises CommandExecutionError: when the time is over, with what is left on which brick and the
        first ten files; at once for files in split-brain when nothing else is left, since no
        waiting heals them.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.wait_healed shared timeout=30
    """
    launched, refusal = None, ""
    for _ in __utils__["gluster.attempts"](timeout):
        now = heal_info(volume)
        left = __utils__["gluster_heal.left"](now["bricks"])
        if not left:
            return now
        connected = all(item["connected"] for item in now["bricks"])
        if connected and now["split_brain"] and now["split_brain"] == now["total"]:
            raise CommandExecutionError(
                f"volume {volume} does not heal by itself: {_left_words(volume, left)}; decide "
                "which copy holds with gluster.resolve_split_brain"
            )
        if launch and (launched is None or time.monotonic() - launched > LAUNCH_SECONDS):
            launched = time.monotonic()
            try:
                heal(volume)
                refusal = ""
            except CommandExecutionError as error:
                refusal = f". The last launch: {error}"
    raise CommandExecutionError(
        f"volume {volume} not healed after {timeout} s: {_left_words(volume, left)}{refusal}"
    )


def resolve_split_brain(volume, path=None, by="newest", source=None):
    """
    Resolve a split-brain: make one copy the good one and overwrite the others with it.

    :param str volume: its name.
    :param str path: a file as :py:func:`heal_info` lists it, by its path from the volume's root or
        as ``gfid:…``. Without one, every file for which ``source`` is a party (only with
        ``by=source``).
    :param str by: ``newest`` (the copy modified last), ``biggest`` or ``source``.
    :param str source: with ``by=source`` the brick whose copy holds, ``host:/path`` as in
        :py:func:`info`.
    :returns: dict with ``resolved``, a list of paths or ``gfid:…``, empty if there was none with
        that brick as a party; and ``failed``, a dict of those left to glusterd's reason (only
        without ``path``).
    :raises CommandExecutionError: if the file is not in split-brain, the copies do not differ in
        what was asked for, or there is no such file, brick or volume.

    CLI Example:

    .. code-block:: bash

        salt db-1 gluster.resolve_split_brain shared by=source source=db-1:/srv/gluster/shared/brick
    """
    volume = __utils__["gluster_declared.volume_name"](volume)
    if by not in _BY:
        raise CommandExecutionError(f"by must be one of {', '.join(_BY)}, not {by!r}")
    if (by == "source") != bool(source):
        raise CommandExecutionError("source is the brick for by=source, and only for that")
    if path is None and by != "source":
        raise CommandExecutionError(f"name the file of volume {volume} to resolve by={by}")
    words = ["volume", "heal", volume, "split-brain", _BY[by]]
    if source:
        words.append(__utils__["gluster_declared.brick"](source)["name"])
    if path is None:
        done = __utils__["gluster_heal.resolved"](_gluster_text(*words))
        return {"resolved": done["healed"], "failed": done["failed"]}
    target = __utils__["gluster_heal.target"](path)
    if target is None:
        raise CommandExecutionError(
            f"{path!r} is neither a path from the root of volume {volume} (/…) nor gfid:…"
        )
    if by == "newest":
        # While features.ctime is on, the default, glusterd's own `latest-mtime` finds no difference
        # (its issue 3496), and its looking makes the times the same.
        words = ["volume", "heal", volume, "split-brain", _BY["source"], _newest(volume, target)]
    _resolve(words, target)
    return {"resolved": [target], "failed": {}}


def _resolve(words, target):
    text = _gluster_text(*words, target)
    done = __utils__["gluster_heal.resolved"](text)
    # The exit code is 0 for some of the files that stay as they were.
    if target not in done["healed"]:
        reason = done["failed"].get(target) or " ".join(text.split()) or "no answer"
        raise CommandExecutionError(f"gluster {' '.join([*words, target])}: {reason}")


def _newest(volume, target):
    """Return the brick that has the newest copy of a file in split-brain."""
    path = target
    if target.startswith("gfid:"):
        known = {
            f"gfid:{entry['gfid']}": entry["path"]
            for entries in _entries(volume).values()
            for entry in entries
            if entry["path"].startswith("/")
        }
        if target not in known:
            raise CommandExecutionError(
                f"the path of {target} on volume {volume} is not known: resolve it by source"
            )
        path = known[target]
    with _mounted(volume) as root:
        file = pathlib.Path(root, path.lstrip("/"))
        try:
            # "data-split-brain:yes    metadata-split-brain:no    Choices:v-client-0,v-client-1"
            told = os.getxattr(file, "replica.split-brain-status").decode()
            choices = list(filter(None, told.partition("Choices:")[2].rstrip("\0").split(",")))
            times = []
            for choice in choices:
                os.setxattr(file, "replica.split-brain-choice", choice.encode())
                times.append((file.stat().st_mtime_ns, choice))
        except OSError as error:
            raise CommandExecutionError(f"copies of {path} on volume {volume}: {error}") from None
    if not times:
        raise CommandExecutionError(f"{path} on volume {volume} is not in split-brain")
    times.sort()
    # Two of three copies may be the same one, written at the same moment.
    if times[0][0] == times[-1][0]:
        raise CommandExecutionError(
            f"no copy of {path} on volume {volume} is newer than the others: resolve it by source"
        )
    return _brick_of_client(volume, times[-1][1])


def _brick_of_client(volume, client):
    """Return the brick behind a name such as ``shared-client-2``, which need not be its number."""
    for file in pathlib.Path(VOLUMES, volume, "bricks").iterdir():
        fields = dict(
            line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines() if line
        )
        if fields.get("brick-id") == client:
            return f"{fields['hostname']}:{fields['path']}"
    raise CommandExecutionError(f"volume {volume} has no brick {client}")


@contextlib.contextmanager
def _mounted(volume):
    with tempfile.TemporaryDirectory(prefix="gluster-") as root:
        # Without the kernel's memory of times, which differ between the copies.
        options = f"attribute-timeout=0,entry-timeout=0,log-file={LOG}"
        _run("mount", "-t", "glusterfs", "-o", options, f"localhost:/{volume}", root)
        try:
            _wait_connected(volume, root)
            yield root
        finally:
            _run("umount", "--lazy", root)


def _wait_connected(volume, root):
    """Wait until a new mount has reached every brick: one that lacks may hold the newest copy."""
    for _ in __utils__["gluster.attempts"](CONNECT_SECONDS):
        away = __utils__["gluster_mount.unconnected"](root)
        if not away:
            return
    bricks = ", ".join(_brick_of_client(volume, client) for client in away)
    raise CommandExecutionError(f"volume {volume}: the copies on {bricks} cannot be reached")


def _run(*argv):
    __utils__["gluster.succeed"](argv, __salt__["cmd.run_all"])


def _left_words(volume, left):
    files = dict.fromkeys(
        entry["path"] + (" (split-brain)" if entry["split_brain"] else "")
        for entries in _entries(volume).values()
        for entry in entries
    )
    words = list(files)[:NAMED_FILES]
    if len(files) > NAMED_FILES:
        words.append(f"and {len(files) - NAMED_FILES} more")
    return ", ".join(left) + (f": {', '.join(words)}" if words else "")


def _entries(volume):
    """Return the files that wait, a dict of brick name to a list."""
    try:
        listed = {item["name"]: item["entries"] for item in _heal(volume)}
        split = {
            (item["name"], entry["gfid"] or entry["path"])
            for item in _heal(volume, "split-brain")
            for entry in item["entries"]
        }
    except CommandExecutionError:
        # The list in words survives a file name that its XML does not. Other refusals come again.
        return __utils__["gluster_heal.entries"](_gluster_text("volume", "heal", volume, "info"))
    return {
        name: [
            {**entry, "split_brain": (name, entry["gfid"] or entry["path"]) in split}
            for entry in entries
        ]
        for name, entries in listed.items()
    }


def _heal(volume, *words):
    answer = _gluster("volume", "heal", volume, "info", *words)
    return __utils__["gluster.heal"](answer)


def _gluster(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience)


def _gluster_text(*words):
    patience = __salt__["config.get"]("gluster.lock_timeout", 30)
    return __utils__["gluster.run"](words, __salt__["cmd.run_all"], patience, text=True)
