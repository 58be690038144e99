"""
The data folder of a mongod that does not run: emptied, with what was in it set aside or not.

What is set aside stays in the folder, below ``ASIDE``: it may be a file system of its own, and
mongod, which may write nowhere else, leaves folders alone that it does not know.
"""

import pathlib
import shutil
from collections.abc import Iterable

from salt.exceptions import CommandExecutionError

ASIDE = "before-resync"
_MOVING = f".{ASIDE}.partial"
# What a file system has at its top.
_FOREIGN = ("lost+found",)
#: Files that a mongod makes first of all.
_MARKS = ("storage.bson", "WiredTiger", "mongod.lock")
# A folder of this many parts at least: nobody keeps data in "/" or "/var".
_DEPTH = 3
_SPARE = 1.1


def check(written: str, running: bool) -> pathlib.Path:
    """Return the path of a mongod's data folder.

    :param running: its mongod runs now, as the lock in it has to say.
    :raises CommandExecutionError: it is none.
    """
    folder = pathlib.Path(str(written))
    remedy = "set mongodb:dbpath to where this node's mongod has its data"
    if not folder.is_absolute() or ".." in folder.parts or len(folder.parts) < _DEPTH:
        raise CommandExecutionError(f"{written} can be no data folder: {remedy}")
    if not folder.is_dir():
        raise CommandExecutionError(f"there is no folder {folder}: {remedy}")
    names = {path.name for path in folder.iterdir()}
    if _contents(names) and names.isdisjoint({*_MARKS, ASIDE, _MOVING}):
        raise CommandExecutionError(f"{folder} holds something else than a mongod's data: {remedy}")
    if running and not _is_locked(folder):
        raise CommandExecutionError(f"no running mongod has its data in {folder}: {remedy}")
    return folder


def _is_locked(folder: pathlib.Path) -> bool:
    try:
        words = (folder / "mongod.lock").read_text().split()
    except FileNotFoundError:
        return False
    return bool(words) and words[0].isdecimal() and pathlib.Path("/proc", words[0]).exists()


def _contents(names: set[str]) -> set[str]:
    return names - {ASIDE, _MOVING, *_FOREIGN}


def contents(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return what is in a data folder, besides what was set aside."""
    names = _contents({path.name for path in folder.iterdir()})
    return [folder / name for name in sorted(names)]


def size(folder: pathlib.Path) -> int:
    """Return how many bytes of disk the contents take, besides what was set aside."""
    return _size(contents(folder))


def _size(paths: Iterable[pathlib.Path]) -> int:
    total = 0
    for path in paths:
        below = path.rglob("*") if path.is_dir() else ()
        total += sum(each.lstat().st_blocks * 512 for each in (path, *below))
    return total


def room(folder: pathlib.Path, needed: int) -> bool:
    """Return whether so many bytes fit beside what is there.

    :raises CommandExecutionError: they would not fit even in its place.
    """
    needed = int(needed * _SPARE)
    free = shutil.disk_usage(folder).free
    most = free + _size(path for path in folder.iterdir() if path.name not in _FOREIGN)
    if most < needed:
        raise CommandExecutionError(
            f"the file system of {folder} is too small: the set's data take"
            f" {needed / 2**20:.0f} MiB, and {most / 2**20:.0f} MiB would be free at most"
        )
    return free >= needed


def empty(folder: pathlib.Path, keep: bool) -> None:
    """Empty a data folder. Given again after it was interrupted, it goes on.

    :param keep: set aside what was in it first of all; what a later mongod has made is removed.
        Else what is set aside already is removed as well.
    """
    aside, moving = folder / ASIDE, folder / _MOVING
    if keep and not aside.exists():
        moving.mkdir(mode=0o700, exist_ok=True)
        for path in contents(folder):
            path.rename(moving / path.name)
        moving.rename(aside)
    if not keep:
        forget(folder)
    for path in contents(folder):
        _remove(path)


def forget(folder: pathlib.Path) -> None:
    """Remove what was set aside."""
    for name in (ASIDE, _MOVING):
        if (folder / name).exists():
            _remove(folder / name)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
