"""
Prove a backup of ``mongodb_backup``: restore it into a mongod of its own, beside the one that
serves, and compare what comes out with what there was.

That mongod listens on a Unix domain socket in a folder which nobody but this minion's user may
enter. It computes and reads only when nobody else wants to, has little memory, and is gone with all
its data when the drill ends, however it ends.

:depends: as ``mongodb_backup``; on Linux, the programs ``mongod``, and ``nice``, ``ionice`` and
    ``setpriv``, which belong to every system. Which mongod it is, an argument says, or
    ``mongodb.mongod`` in the minion's configuration or ``mongodb:mongod`` in its pillar; else it is
    that on the ``PATH``.
"""

import pathlib
import time

import salt.utils.platform
from salt.exceptions import SaltInvocationError

try:
    import pymongo  # noqa: F401 - what the utilities want

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

# Held while a drill is under way in the folder that it lies in.
LOCK = ".mongodb_drill.lock"

__virtualname__ = "mongodb_drill"
__func_alias__ = {"list_": "list"}


def __virtual__():
    if not salt.utils.platform.is_linux():
        return False, "mongodb_drill: a server is started and ended as Linux has it"
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return __virtualname__


def run(
    folder,
    target=None,
    oplog=(),
    sha256=None,
    oplog_sha256=None,
    mongod=None,
    scratch=None,
    cache_gb=0.25,
    keep=False,
    patience=3600,
):
    """
    Restore a backup into a mongod that is there for this only, and compare what comes out.

    folder, target, oplog, sha256, oplog_sha256
        As for ``mongodb_backup.restore``: the backup, the time to restore, the files with more
        oplog, and which backup and which files these have to be.

    mongod
        Whole path of the program.

    scratch
        Folder that the server has its data below; ``mongodb_drill`` in the minion's cache unless
        given. What a drill left there that was killed is removed first. One drill at a time runs
        in it.

    cache_gb
        Memory for the server's cache, in GiB, 0.25 at least. It needs some 0.3 GiB besides.

    keep
        Leave the server running with what was restored, to look into it or take something from it.
        ``mongodb_drill.remove`` ends it, and nothing else does.

    patience
        Seconds that one command may take; making the indexes of a collection is one.

    Returns a dict of ``folder``; ``set`` and ``sha256`` as ``mongodb_backup.info`` has them; ``to``
    (the last entry that was replayed); ``compared_at`` (``time`` and ``wall`` at which counts and
    hashes were compared: the backup's own time, also where ``target`` is a later one); ``checked``
    and ``unchecked`` (collections); ``databases``; ``documents`` (loaded); ``operations``
    (replayed); ``bytes`` (of the backup); ``disk`` (bytes that the server took); ``version`` of the
    server; ``seconds`` for each part and in ``total``; and ``kept``, None or a dict of ``folder``
    and ``socket``.

    Raises ``CommandExecutionError`` with the reason when the backup cannot be restored or comes out
    other than it was, when there is no such mongod, and, before anything is started, when the
    folder has no room for it.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_drill.run /srv/shared/backups/2026-11-28T03
        salt db-2 mongodb_drill.run /srv/shared/backups/2026-11-28T03 \
            oplog='[/srv/shared/oplog/0001.bson.gz]' target=2026-11-28T03:41:59Z
    """
    began = time.monotonic()
    if isinstance(cache_gb, bool) or not isinstance(cache_gb, (int, float)) or cache_gb < 0.25:
        raise SaltInvocationError(f"cache_gb must be a number of GiB from 0.25, not {cache_gb!r}")
    files = [oplog] if isinstance(oplog, str) else list(oplog)
    settings = __utils__["mongodb_login.settings"](dict(__opts__), dict(__pillar__))
    program = __utils__["mongodb_scratch.program"](mongod, settings)
    # It looks for the key as well: what is not there is said before a server is started.
    backup = __salt__["mongodb_backup.info"](folder)
    parent = _parent(scratch)
    manifest, _ = __utils__["mongodb_files.manifest"](pathlib.Path(backup["folder"]))
    # One that is not there is named where it is read.
    more = sum(path.stat().st_size for path in map(pathlib.Path, files) if path.exists())
    with __utils__["mongodb_files.locked"](parent, LOCK, "another drill is under way in"):
        __utils__["mongodb_scratch.sweep"](parent)
        __utils__["mongodb_scratch.require_room"](parent, manifest["files"].values(), more)
        with __utils__["mongodb_scratch.server"](
            parent, program, cache_gb, keep, __utils__["mongodb.hello"]
        ) as server:
            started = time.monotonic()
            restored = __salt__["mongodb_backup.restore"](
                folder,
                target=target,
                oplog=files,
                sha256=sha256,
                oplog_sha256=oplog_sha256,
                address=server.address,
                patience=patience,
            )
            disk = server.size
            with __utils__["mongodb.client"](server.address, 3) as client:
                version = client.admin.command("buildInfo")["version"]
    seconds = {"start": round(started - began, 2), **restored["seconds"]}
    told = ("to", "checked", "unchecked", "databases", "documents", "operations")
    return {
        "folder": backup["folder"],
        "set": backup["set"],
        "sha256": backup["sha256"],
        "compared_at": backup["to"],
        **{name: restored[name] for name in told},
        "bytes": backup["bytes"],
        "disk": disk,
        "version": version,
        "seconds": {**seconds, "total": round(time.monotonic() - began, 2)},
        "kept": {"folder": str(server.folder), "socket": server.address} if keep else None,
    }


def list_(scratch=None):
    """
    Return the servers that drills with ``keep=True`` have left.

    scratch
        As for ``mongodb_drill.run``.

    Returns a list of dicts of ``folder`` and ``socket``. ``mongosh`` takes the path of the socket
    with ``%2F`` for each ``/``.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_drill.list
    """
    return __utils__["mongodb_scratch.kept"](_parent(scratch))


def remove(folder):
    """
    End a server that a drill with ``keep=True`` has left, and remove it with its data.

    folder
        ``folder`` of the server, as ``mongodb_drill.list`` returns it.

    Returns True. Raises ``CommandExecutionError`` when there is none.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_drill.remove /var/cache/salt/minion/mongodb_drill/kept-4fz0ab1_
    """
    return __utils__["mongodb_scratch.remove_kept"](str(folder))


def _parent(scratch):
    return __utils__["mongodb_scratch.parent"](scratch, __opts__["cachedir"])
