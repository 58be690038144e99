"""Who makes and restores backups: our module, as a minion does it, and MongoDB's tools."""

from __future__ import annotations

import base64
import multiprocessing
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lab.config import ROOT, LabError
from tests.support.loading import minion_loader
from tests.support.mongod import Member, ReplicaSet

#: Where docs/backup.md has them built.
TOOLS = ROOT / "build" / "cache" / "mongo-tools"


@dataclass(frozen=True)
class Took:
    """What a backup, or a restore of one, came to."""

    seconds: float
    processor: float
    """Seconds of it for which who did it had a processor; the servers not counted."""
    bytes: int
    """On the disk, of the backup."""
    parts: dict[str, float]
    """Seconds by part, where it tells."""


class Maker(Protocol):
    """Somebody who makes backups, and restores them."""

    name: str

    def dump(self, rs: ReplicaSet, member: Member, folder: Path) -> Took:
        """Make a backup of a secondary; ``folder`` must not be there.

        :raises LabError: there is none.
        """

    def restore(self, rs: ReplicaSet, folder: Path) -> Took:
        """Restore a backup of our module into a set without data.

        :raises LabError: it failed.
        """


# Seconds that passed and seconds of processor time, and what a function of the module returned.
_Done = tuple[tuple[float, float], Any]


class Ours:
    """``mongodb_backup`` by Salt's own loader, in a process as a job of a minion is one.

    Use :func:`ours`.
    """

    def __init__(self, pool: ProcessPoolExecutor, folder: Path, key: str | None) -> None:
        self.name = "our backup, encrypted" if key else "our backup"
        self._pool = pool
        self._folder = folder
        self._key = key

    def dump(self, rs: ReplicaSet, member: Member, folder: Path) -> Took:
        times, made = self._do(rs, member, "dump", str(folder))
        return Took(*times, made["bytes"], {})

    def restore(self, rs: ReplicaSet, folder: Path) -> Took:
        times, made = self._do(rs, rs.wait_primary(), "restore", str(folder))
        if not made["checked"]:
            raise LabError("The restore compared nothing: the hits were too many for the backup.")
        return Took(*times, _size(folder), made["seconds"])

    def _do(self, rs: ReplicaSet, member: Member, function: str, *words: str) -> _Done:
        pillar = {
            "mongodb": {"admin_user": rs.admin_user},
            "secrets": {"mongodb_admin": rs.admin_password},
        }
        if self._key:
            pillar["secrets"]["mongodb_backup_key"] = self._key
        job = self._pool.submit(_job, str(self._folder), pillar, member.port, function, *words)
        try:
            done: _Done = job.result()
            return done
        # Salt's own does not survive the way between two processes.
        except RuntimeError as error:
            raise LabError(str(error)) from error


def _job(folder: str, pillar: dict[str, Any], port: int, function: str, *words: str) -> _Done:
    """Call a function of the module."""
    from salt.exceptions import SaltException

    loaders = minion_loader(
        Path(folder), pillar=pillar, mongodb={"port": port}, grains={"id": "bench"}
    )
    call = loaders.modules[f"mongodb_backup.{function}"]
    began, processor = time.monotonic(), time.process_time()
    try:
        made = call(*words)
    except SaltException as error:
        raise RuntimeError(f"mongodb_backup.{function} failed: {error}") from None
    return (time.monotonic() - began, time.process_time() - processor), made


@contextmanager
def ours(folder: Path) -> Iterator[tuple[Ours, Ours]]:
    """Yield our module without and with a key.

    :param folder: for what Salt keeps.
    """
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    # What a fork inherits of this process's threads could be locked for ever.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawned) as pool, ProcessPoolExecutor(1, spawned) as other:
        yield Ours(pool, folder, None), Ours(other, folder, key)


class Tools:
    """mongodump and mongorestore."""

    name = "mongodump"

    def __init__(self, dump: str, restore: str) -> None:
        self._dump = dump
        self._restore = restore

    def dump(self, rs: ReplicaSet, member: Member, folder: Path) -> Took:
        login = f"{rs.admin_user}:{rs.admin_password}"
        uri = f"mongodb://{login}@{member.address}/?directConnection=true"
        words = ("--gzip", "--oplog", "--out", str(folder))
        times = _run(self._dump, "--uri", uri, *words)
        return Took(*times, _size(folder), {})

    def restore(self, rs: ReplicaSet, folder: Path) -> Took:
        words = ("--gzip", "--oplogReplay", "--bypassDocumentValidation", "--dir", str(folder))
        times = _run(self._restore, "--uri", rs.uri, *words)
        return Took(*times, _size(folder), {})


def tools() -> Tools | None:
    """Return MongoDB's tools, or None where they are not."""
    path = f"{TOOLS}:/usr/local/bin:/usr/bin:/bin"
    found = [shutil.which(name, path=path) for name in ("mongodump", "mongorestore")]
    return Tools(*found) if all(found) else None  # type: ignore[arg-type]


def _run(*command: str) -> tuple[float, float]:
    began = time.monotonic()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise LabError(f"{Path(command[0]).name} failed: {said.strip()[-2000:]}")
    return time.monotonic() - began, used.ru_utime + used.ru_stime


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
