"""
Noting what the oplog's archive has closed, and having it at the second place: what is due of that.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fleet import backups, second, segments, volume
from fleet.errors import refuse
from fleet.master import Master
from fleet.second_archive import Copies
from fleet.segments import Moment
from fleet.utils import mongodb_segments

#: Bytes that a file of the archive has at most.
_MOST = 2**30
#: Seconds by which the set's time may be ahead of this master's.
_AHEAD = 86400


def keep(master: Master, chosen: Mapping[str, Any]) -> dict[str, int]:
    """
    Note what the archive has closed, have it at the second place, and forget what is not needed.

    chosen
        The settings of ``backup``.

    It takes the timelines of the backups that are noted. A file that ends no later than one that is
    noted already is needed by nobody, and is not: it has come late.

    What ends before the oldest backup is removed from the second place, too; but nothing while a
    backup is there that this master has not noted: it may need what would be removed.

    Returns how many files were ``noted``, ``copied`` and ``removed``.

    Raises FleetError naming each file that could not be, or is another than the one noted.
    """
    there = backups.noted(master)
    if not there:
        return {"noted": 0, "copied": 0, "removed": 0}
    oldest = segments.moment(there[0]["to"]["time"])
    done = {"noted": 0, "copied": 0}
    problems: list[str] = []
    with segments.edited(master) as (notes, save):
        copies = Copies(second.Place(master, chosen["second"])) if chosen["second"] else None
        if copies:
            _compare(notes, copies)
        gone = _old(notes, oldest)
        if gone and copies and set(second.names(master, chosen)) - {x["name"] for x in there}:
            gone = {}
        _forget(notes, gone, copies)
        save()
        for timeline in sorted(set(filter(segments.is_timeline, (x["timeline"] for x in there)))):
            mine = notes.setdefault(timeline, {})
            before = len(mine)
            for batch in _wanted(chosen, timeline, mine, oldest, copies is not None):
                with tempfile.TemporaryDirectory(prefix=segments.OWN, dir=master.state) as own:
                    target = Path(own) / timeline
                    target.mkdir()
                    ready, wrong = _read(chosen, timeline, batch, mine, target if copies else None)
                    problems += wrong
                    save()
                    if copies and ready:
                        copies.add(Path(own), timeline, {name: mine[name] for name in ready})
                        for name in ready:
                            mine[name]["second"] = True
                        save()
                        done["copied"] += len(ready)
            done["noted"] += len(mine) - before
    refuse(problems)
    return {**done, "removed": sum(map(len, gone.values()))}


def _compare(notes: segments.Notes, copies: Copies) -> None:
    """Have what is not at the second place, another disk for one, noted as not being there."""
    for timeline, names in notes.items():
        for name, facts in names.items():
            facts["second"] = facts["second"] and name in copies.of(timeline)


def _old(notes: segments.Notes, oldest: Moment) -> dict[str, list[str]]:
    """Return, by timeline, the files that end before the oldest backup."""
    found = {
        timeline: [name for name in names if segments.last(name) < oldest]
        for timeline, names in notes.items()
    }
    return {timeline: names for timeline, names in found.items() if names}


def _forget(
    notes: segments.Notes, gone: Mapping[str, Sequence[str]], copies: Copies | None
) -> None:
    """Forget files, after they were removed from the second place."""
    if copies:
        copies.remove(gone)
    for timeline, names in gone.items():
        for name in names:
            del notes[timeline][name]
        if not notes[timeline]:
            del notes[timeline]


def _wanted(
    chosen: Mapping[str, Any],
    timeline: str,
    mine: Mapping[str, Mapping[str, Any]],
    oldest: Moment,
    copied: bool,
) -> list[list[str]]:
    """Return which files of a timeline are to be read, as many at a time as may be on their way."""
    reach = max(map(segments.last, mine), default=(0, 0))
    # What somebody made up to end later than anything could would hide all that follows.
    latest = (int(time.time()) + _AHEAD, 0)
    sizes = {}
    with contextlib.suppress(FileNotFoundError), _opened(chosen, timeline) as folder:
        for each in mongodb_segments.segments(Path(second.path_of(folder))):
            name = each.path.name
            if each.token is None and oldest <= segments.last(name) <= latest:
                new = name not in mine and segments.last(name) > reach
                late = copied and name in mine and not mine[name]["second"]
                if new or late:
                    sizes[name] = os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
    return segments.batches(sizes)


def _read(
    chosen: Mapping[str, Any],
    timeline: str,
    names: Sequence[str],
    mine: dict[str, dict[str, Any]],
    target: Path | None,
) -> tuple[list[str], list[str]]:
    """Note files, and copy them to a folder; return those that are as noted, and problems."""
    ready, problems = [], []
    with _opened(chosen, timeline) as folder:
        for name in names:
            what = f"{chosen['archive']['folder']}/{timeline}/{name}"
            try:
                facts = _take(folder, name, target and target / name)
            except FileNotFoundError:
                # What no backup needs any more has just been removed.
                continue
            except (OSError, ValueError) as error:
                problems.append(f"{what} cannot be read: {error}; somebody may have made it")
                continue
            if name in mine and mine[name]["sha256"] != facts["sha256"]:
                problems.append(
                    f"{what} is another file than the one noted, with the SHA-256 "
                    f"{facts['sha256']}: make a backup with `salt-run backup.run`, from which the "
                    "archive can be replayed without it"
                )
                if target:
                    (target / name).unlink()
                continue
            mine.setdefault(name, {**facts, "second": False})
            ready.append(name)
    return ready, problems


def _take(folder: int, name: str, target: Path | None) -> dict[str, Any]:
    """
    Return ``sha256`` and ``bytes`` of a file in an open folder, and copy it.

    Raises ValueError when it is none of an archive, or a link, which is not followed.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(os.fdopen(os.open(name, flags, dir_fd=folder), "rb"))
        state = os.fstat(source.fileno())
        if not stat.S_ISREG(state.st_mode) or state.st_size > _MOST:
            raise ValueError("it is no file, or a file of more than 1 GiB")
        copy = stack.enter_context(target.open("wb")) if target else None
        total, size = hashlib.sha256(), 0
        while size <= _MOST and (block := source.read(2**20)):
            total.update(block)
            size += len(block)
            if copy:
                copy.write(block)
    return {"sha256": total.hexdigest(), "bytes": size}


def _opened(chosen: Mapping[str, Any], timeline: str) -> contextlib.AbstractContextManager[int]:
    """Open the folder of a timeline on the volume; no link there is followed."""
    return volume.opened_at(Path(chosen["mount"]), Path(chosen["archive"]["folder"]) / timeline)
