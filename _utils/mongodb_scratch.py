"""
A mongod of one's own for as long as something is tried, beside the one that serves.

It lies in a folder that nobody but its user may enter, and listens on a Unix domain socket there
and nowhere else: so it wants no login, and others on the machine cannot reach it. It computes and
reads when nobody else wants to, and it ends with whoever started it.

Whoever starts one holds a lock on the folder above. So each folder there that is not locked is one
that somebody left who was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

try:
    from pymongo.errors import PyMongoError

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

PASSING, KEPT = "drill-", "kept-"
SOCKET = "mongod.sock"
# Of a socket's path, which the kernel cuts off there.
LONGEST = 107
LEAST_CACHE_GB = 0.25
START = 60.0
PAUSE = 0.1
# A killed process ends at once, unless a disk that hangs does not let it.
END = 30.0
GIB = 1 << 30
#: Room for the server's own files, and what the member beside it needs meanwhile.
SPARE = GIB
#: Collections as documents, and once more for indexes and for what was overwritten.
GROWTH = 2
#: Of files whose unpacked size is not known, from the compressed one.
PACKED = 20


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


# Before it is started


def program(written: str | None, settings: Mapping[str, Any]) -> str:
    """Return the path of the mongod to start.

    :param written: what a user wants; else ``mongod`` of ``settings``, else that on the ``PATH``.
    :param settings: ``mongodb_login.settings``.
    :raises CommandExecutionError: there is none, with the remedy.
    """
    wanted = written or settings["mongod"]
    if not wanted:
        found = shutil.which("mongod")
        if not found:
            raise CommandExecutionError(
                "no mongod is on the PATH of this minion: say mongod=/path/of/mongod, or set"
                " mongodb:mongod in its pillar or configuration"
            )
        return found
    path = pathlib.Path(str(wanted))
    if not path.is_absolute() or not path.is_file() or not os.access(path, os.X_OK):
        whose = "mongod" if written else "mongodb:mongod"
        raise CommandExecutionError(
            f"{wanted} is no program that this minion can start: set {whose} to the whole path of"
            " mongod"
        )
    return str(path)


def parent(written: str | None, cachedir: str) -> pathlib.Path:
    """Return the folder below which servers have theirs, made where it was not.

    :param written: what a user wants; else one in the minion's ``cachedir``.
    :raises SaltInvocationError: it is no whole path.
    :raises CommandExecutionError: it cannot be made, others may write in it, or its path is too
        long for a socket.
    """
    folder = pathlib.Path(str(written)) if written else pathlib.Path(cachedir, "mongodb_drill")
    if not folder.is_absolute():
        raise SaltInvocationError(f"scratch={written!r} cannot be used: write the whole path")
    longest = len(os.fsencode(folder / f"{PASSING}12345678" / SOCKET))
    if longest > LONGEST:
        raise CommandExecutionError(
            f"{folder} is too long a path for a socket in it, by {longest - LONGEST} characters:"
            " name a shorter one with scratch="
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise CommandExecutionError(
            f"{folder} cannot be made: {err.strerror}; name another one with scratch="
        ) from err
    if folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CommandExecutionError(
            f"{folder} can be written by others: name a folder of your own with scratch="
        )
    return folder


def require_room(folder: pathlib.Path, files: Iterable[Mapping[str, int]], more: int) -> None:
    """See that a backup fits into the file system of a folder.

    :param files: those of the backup, as its manifest has them.
    :param more: bytes of further files of the oplog.
    :raises CommandExecutionError: it may not; with the numbers.
    """
    unpacked = sum(each.get("unpacked", PACKED * each["bytes"]) for each in files)
    needed = GROWTH * (unpacked + PACKED * more) + SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CommandExecutionError(
            f"{folder} has {free / GIB:.1f} GiB free, and up to {needed / GIB:.1f} GiB are needed:"
            " name a folder that has room with scratch="
        )


# While it runs


class Server:
    """A mongod that runs. Get one from :func:`server`."""

    def __init__(self, folder: pathlib.Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process

    @property
    def address(self) -> str:
        """The path of its socket, which modules for MongoDB take as an address."""
        return str(self.folder / SOCKET)

    @property
    def size(self) -> int:
        """What it takes on the disk, in bytes."""
        files = (self.folder / "data").rglob("*")
        return sum(path.stat().st_blocks * 512 for path in files if path.is_file())

    def last_words(self) -> str:
        """Return what it said when it ended, in a line."""
        said = (self.folder / "output").read_text(errors="replace").split("\n")
        lines = [line for line in said if line.strip() and not line.startswith("{")]
        with contextlib.suppress(FileNotFoundError):
            for line in (self.folder / "log").read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    row = json.loads(line)
                    if row["s"] in ("E", "F"):
                        lines.append(f"{row['msg']} {json.dumps(row.get('attr', {}))}")
        return lines[0][:400] if lines else "nothing"


@contextlib.contextmanager
def server(
    folder: pathlib.Path,
    mongod: str,
    cache_gb: float,
    keep: bool,
    hello: Callable[[str, float], Any],
) -> Iterator[Server]:
    """Yield a mongod without data, below a folder; it and all of it are gone afterwards.

    :param keep: leave it running when the block ends well, for :func:`remove` to end.
    :param hello: ``mongodb.hello``.
    :raises CommandExecutionError: it does not start, or it has ended before the block.
    """
    home = pathlib.Path(tempfile.mkdtemp(prefix=KEPT if keep else PASSING, dir=folder))
    running = None
    kept = False
    try:
        running = Server(home, _start(home, mongod, cache_gb, keep))
        _wait(running, hello)
        try:
            yield running
        except Exception as err:
            code = _ended(running, hello)
            if code is None:
                raise
            raise CommandExecutionError(
                f"{err}; the scratch mongod has ended with {code} and said: {running.last_words()}"
            ) from err
        kept = keep
    finally:
        if not kept:
            remove(home)
            if running:
                running.process.wait(END)


def _ended(running: Server, hello: Callable[[str, float], Any]) -> int | None:
    """Return the exit code of a server that is ending or has ended; None while it runs."""
    try:
        hello(running.address, END)
    except PyMongoError:
        # Its connections end before it does.
        with contextlib.suppress(subprocess.TimeoutExpired):
            return running.process.wait(END)
    return None


def _start(home: pathlib.Path, mongod: str, cache_gb: float, keep: bool) -> subprocess.Popen[bytes]:
    (home / "data").mkdir()
    # It ends with the job that started it, whatever ends that; unless it is to stay.
    bound = () if keep else ("setpriv", "--pdeathsig", "KILL")
    command = [
        *("nice", "-n", "19", "ionice", "-c", "3", *bound, mongod),
        *("--dbpath", str(home / "data"), "--logpath", str(home / "log")),
        *("--bind_ip", str(home / SOCKET), "--filePermissions", "0700"),
        # It makes a second socket, which would take the place of that of a member in /tmp.
        *("--unixSocketPrefix", str(home)),
        *("--wiredTigerCacheSizeGB", str(cache_gb)),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        *("--setParameter", "maxIndexBuildMemoryUsageMegabytes=100"),
        # What is expired by now was there at the time that is restored.
        *("--setParameter", "ttlMonitorEnabled=false"),
    ]
    with (home / "output").open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home,
            umask=0o077,
            start_new_session=True,
        )


def _wait(running: Server, hello: Callable[[str, float], Any]) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + START
    with _watched(running.process.pid) as ended:
        while time.monotonic() < deadline:
            if ended.poll(PAUSE * 1000):
                raise CommandExecutionError(
                    f"the scratch mongod ended with {running.process.wait()} and said:"
                    f" {running.last_words()}"
                )
            # It is not there, or not ready yet.
            with contextlib.suppress(PyMongoError):
                hello(running.address, 1.0)
                return
    raise CommandExecutionError(
        f"the scratch mongod does not answer within {START:g} s; it said: {running.last_words()}"
    )


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[select.poll]:
    """Yield what is told when a process has ended."""
    process = os.pidfd_open(pid)
    try:
        watching = select.poll()
        watching.register(process, select.POLLIN)
        yield watching
    finally:
        os.close(process)


# Afterwards


def sweep(folder: pathlib.Path) -> None:
    """Remove what is left of servers whose drill was killed; for who holds the folder's lock.

    :raises CommandExecutionError: one does not end.
    """
    for dead in folder.glob(f"{PASSING}*"):
        remove(dead)


def kept(folder: pathlib.Path) -> list[dict[str, str]]:
    """Return ``folder`` and ``socket`` of each server that was left running on purpose."""
    homes = sorted(folder.glob(f"{KEPT}*"))
    return [{"folder": str(home), "socket": str(home / SOCKET)} for home in homes]


def remove_kept(written: str) -> bool:
    """End a server that was left running on purpose, and remove it; return True.

    :raises CommandExecutionError: it is none, or does not end.
    """
    home = pathlib.Path(written)
    if not home.is_absolute() or not home.name.startswith(KEPT) or not (home / "data").is_dir():
        raise CommandExecutionError(
            f"{written} is no server that a drill has left: mongodb_drill.list names those"
        )
    remove(home)
    return True


def remove(home: pathlib.Path) -> None:
    """End the server whose folder this is, if it runs, and remove the folder.

    :raises CommandExecutionError: it does not end.
    """
    for pid in _processes(home):
        with contextlib.suppress(ProcessLookupError), _watched(pid) as ended:
            # It is watched already, so that the number cannot have come to mean another one.
            if _is_of(pid, home):
                os.kill(pid, signal.SIGKILL)
                if not ended.poll(END * 1000):
                    raise CommandExecutionError(
                        f"the mongod of {home} does not end: look at its disk"
                    )
    shutil.rmtree(home)


def _processes(home: pathlib.Path) -> list[int]:
    """Return the processes that were started with this folder's data."""
    numbers = (int(each.name) for each in pathlib.Path("/proc").iterdir() if each.name.isdecimal())
    return [pid for pid in numbers if _is_of(pid, home)]


def _is_of(pid: int, home: pathlib.Path) -> bool:
    try:
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"\0" + os.fsencode(home / "data") + b"\0" in command
