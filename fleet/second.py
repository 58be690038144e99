"""
The second place of backups: a folder that the operator mounts on the master, or one on any host
that SSH reaches. Volume and replica set share their machines; this place shares none with them.

``backup:second`` in pillar/backup.sls is null, or a mapping:

``folder``
    Path of the folder, which must be there.
``mounted``
    For a folder on the master: whether it must lie on another filesystem than the master's root,
    so that nothing is copied beside a mount that is missing. True unless given.
``host``
    ``user@host`` of another machine; without it the folder is the master's own.
``port``
    Where its SSH listens. 22 unless given.
``key``, ``known_hosts``
    Paths on the master: the private key to log in by, and the host's public one, as
    ``ssh-keyscan`` tells it. ``/etc/salt/counterapp/backup/key`` and ``known_hosts`` unless given.

rsync does the work, by the names of files and their times: what is there already is not sent again.
A copy's manifest is written last, by the master, from what it has noted: what is partial has none.
"""

import contextlib
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fleet import backups, volume
from fleet.errors import FleetError
from fleet.lock import now
from fleet.master import Master

MANIFEST = "manifest.json"
_KEYS = ("folder", "mounted", "host", "port", "key", "known_hosts")
#: What needs no quoting, neither for the remote side's shell nor in rsync's own words.
_SIGNS = "letters, digits and '_.-/'"
_PATH = re.compile(r"/[0-9A-Za-z_./-]*\Z")
_HOST = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]*@[0-9A-Za-z][0-9A-Za-z.-]*\Z")
#: Seconds for a connection, and in which something must go over it.
_CONNECT, _STALLED = 15, 60


def copy(master: Master, chosen: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """
    Have a backup be at the second place as well, and note that it is.

    chosen
        The settings of ``backup``.
    entry
        What is noted of the backup.

    Returns whether it had to be copied: False where it is noted that it was.

    Raises FleetError when it cannot be, or when the backup on the volume is not the one noted.
    """
    if entry["second"]:
        return False
    place = Place(master, chosen["second"])
    name = entry["name"]
    shape = ["--recursive", "--times", "--delete", "--chmod=D0700,F0600"]
    with opened(chosen, name) as source:
        manifest = read(source, MANIFEST)
        found = hashlib.sha256(manifest).hexdigest()
        if found != entry["sha256"]:
            raise FleetError(
                f"{chosen['folder']}/{name} is another backup than the one noted, with the SHA-256 "
                f"{found} of its {MANIFEST}: it is not copied to the second place; make another one"
            )
        place.rsync([*shape, f"--exclude=/{MANIFEST}", path_of(source)], name, source)
    with tempfile.TemporaryDirectory(prefix="counterapp-backup-") as folder:
        last = Path(folder) / MANIFEST
        last.write_bytes(manifest)
        place.rsync(["--times", "--chmod=F0600", str(last)], name)
    backups.update(master, name, second=now())
    return True


def remove(master: Master, chosen: Mapping[str, Any], name: str) -> None:
    """Have a backup not be at the second place any more; it may be gone already."""
    place = Place(master, chosen["second"])
    # A folder with nothing in it is the example: of the names there only this one is looked at.
    with tempfile.TemporaryDirectory(prefix="counterapp-backup-") as empty:
        shape = ["--recursive", "--delete", f"--include=/{name}/***", "--exclude=*"]
        place.rsync([*shape, f"{empty}/"], "")


def names(master: Master, chosen: Mapping[str, Any]) -> list[str]:
    """Return the names of the backups at the second place; one that is partial is none."""
    place = Place(master, chosen["second"])
    shape = ["--recursive", "--list-only", f"--include=/*/{MANIFEST}", "--include=/*/"]
    lines = place.rsync([*shape, "--exclude=*", place.at("")]).splitlines()
    found = [line.split(maxsplit=4)[4] for line in lines if line.endswith(f"/{MANIFEST}")]
    return sorted(path.removesuffix(f"/{MANIFEST}") for path in found)


def fetch(master: Master, chosen: Mapping[str, Any], name: str) -> Path:
    """
    Bring a backup from the second place back to the volume, which must not have it.

    Returns its path there. It is read and compared by whoever restores it.

    Raises FleetError when it is not at the second place, or is there already.
    """
    place = Place(master, chosen["second"])
    target = Path(chosen["folder"]) / backups.check_name(name)
    volume.require(Path(chosen["mount"]))
    if os.path.lexists(target):
        raise FleetError(f"{target} is there already: `salt-run backup.verify {name}` reads it")
    there = names(master, chosen)
    if name not in there:
        known = ", ".join(there[-5:]) or "none"
        raise FleetError(f"there is no backup {name!r} at the second place; the last ones: {known}")
    target.parent.mkdir(mode=0o700, exist_ok=True)
    partial = f".{name}.fetched"
    shape = ["--recursive", "--times", "--delete", "--chmod=D0700,F0600"]
    with opened(chosen) as folder:
        # What a fetch that died has left is gone on with.
        with contextlib.suppress(FileExistsError):
            os.mkdir(partial, 0o700, dir_fd=folder)
        with opened(chosen, partial) as handle:
            place.rsync([*shape, place.at(name), path_of(handle)], None, handle)
        os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    return target


def opened(chosen: Mapping[str, Any], name: str = "") -> contextlib.AbstractContextManager[int]:
    """Open the folder of the backups on the volume, or one in it; no link there is followed."""
    return volume.opened_at(Path(chosen["mount"]), Path(chosen["folder"]) / name)


def read(folder: int, name: str) -> bytes:
    """Return what a file of an open folder holds; no link is followed."""
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(handle, "rb") as stream:
        return stream.read()


def path_of(folder: int) -> str:
    """Return how a program that has an open folder, too, is told of it."""
    return f"/proc/self/fd/{folder}/"


def _unframed(line: str) -> str:
    return line.strip("@ ")


class Place:
    """
    Where the second place is, and how it is reached.

    Raises FleetError with a sentence for each setting that cannot be meant.
    """

    def __init__(self, master: Master, given: Any) -> None:
        if not given:
            raise FleetError(
                "there is no second place of backups: say where in backup:second of "
                "pillar/backup.sls, and roll that out"
            )
        if not isinstance(given, Mapping) or set(given) - set(_KEYS):
            raise FleetError(
                f"backup:second in pillar/backup.sls must be a mapping of {', '.join(_KEYS)}, not "
                f"{given!r}"
            )
        self._host = given.get("host")
        self._port = given.get("port", 22)
        self._folder = str(given.get("folder") or "").rstrip("/")
        own = master.config / "backup"
        self._key = Path(given.get("key") or own / "key")
        self._known = Path(given.get("known_hosts") or own / "known_hosts")
        problems = []
        if not _PATH.match(self._folder):
            problems.append(
                f"backup:second:folder in pillar/backup.sls must be a whole path of {_SIGNS}, not "
                f"{given.get('folder')!r}"
            )
        elif self._host is None:
            problems += self._here(given.get("mounted", True))
        elif not _HOST.match(str(self._host)):
            problems.append(
                f"backup:second:host in pillar/backup.sls must be user@host, not {given['host']!r}"
            )
        elif type(self._port) is not int or not 0 < self._port < 65536:
            problems.append(
                "backup:second:port in pillar/backup.sls must be a number from 1 to 65535, not "
                f"{self._port!r}"
            )
        else:
            problems += [
                f"{path} is no file on the master, or has other signs than {_SIGNS}: {remedy}"
                for path, remedy in (
                    (self._key, "put a private key there that root alone can read"),
                    (self._known, f"put there what `ssh-keyscan` says of {self._host}, compared"),
                )
                if not path.is_file() or not _PATH.match(str(path))
            ]
        if problems:
            raise FleetError(*problems)

    def _here(self, mounted: bool) -> list[str]:
        folder = Path(self._folder)
        if not folder.is_dir():
            return [f"the second place {folder} is no folder on the master: make it, or mount it"]
        if mounted and folder.stat().st_dev == Path("/").stat().st_dev:
            return [
                f"the second place {folder} is on the master's own root filesystem: mount it, or "
                "say `mounted: false` in backup:second of pillar/backup.sls"
            ]
        return []

    def at(self, name: str) -> str:
        """Return how rsync is told of a backup there, or of the place itself."""
        path = f"{self._folder}/{name}".rstrip("/")
        return f"{self._host}:{path}/" if self._host else f"{path}/"

    def rsync(
        self, words: Sequence[str], name: str | None = None, folder: int | None = None
    ) -> str:
        """
        Run rsync with these words and, where a name is given, its place as the last.

        folder
            The open folder that the words name by :func:`_path`.
        """
        argv = ["rsync", f"--timeout={_STALLED}"]
        if self._host:
            argv.append(
                f"--rsh=ssh -p {self._port} -i {self._key} -o UserKnownHostsFile={self._known} "
                f"-o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout={_CONNECT}"
            )
        argv += [*words, *([] if name is None else [self.at(name)])]
        try:
            passed = () if folder is None else (folder,)
            done = subprocess.run(
                argv, capture_output=True, text=True, check=False, pass_fds=passed
            )
        except FileNotFoundError as error:
            raise FleetError(
                "rsync is missing on the master: apply the state `base` there"
            ) from error
        if done.returncode:
            # ssh frames what it shouts.
            said = [line for line in map(_unframed, done.stderr.splitlines()) if line]
            raise FleetError(
                f"the second place {self.at('')} cannot be used: "
                f"{said[0] if said else f'rsync ended with {done.returncode}'}"
            )
        return done.stdout
