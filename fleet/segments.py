"""
The files of the oplog's archive that it has closed, as this master has noted them.

Root of any node can write to the volume. So the master notes the SHA-256 of each such file when it
first sees it, in ``segments.json`` in its configuration folder, which is part of the copy that a
new master gets; what was altered later is refused by name where it is restored, and in a drill.
The file has, by timeline and file name, ``sha256``, ``bytes`` and ``second``: whether the file is
at the second place (:mod:`fleet.second_archive`).
"""

import contextlib
import fcntl
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet import backups, files
from fleet.errors import FleetError
from fleet.master import Master
from fleet.utils import mongodb_segments

#: Of the master's configuration folder, and of the archive's at the second place.
NOTES = "segments.json"
_TIMELINE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
#: Bytes that are on their way at a time.
_BATCH = 2**26
#: How folders of this master's begin in which files are on their way.
OWN = ".oplog."
#: By timeline and file name.
Notes = dict[str, dict[str, dict[str, Any]]]
#: An operation time, which is compared as its two numbers are.
Moment = tuple[int, int]


def on_volume(chosen: Mapping[str, Any]) -> bool:
    """Return whether there is an archive, and on the volume, where the master can read it."""
    archive = chosen["archive"]
    return bool(archive["enabled"]) and Path(archive["folder"]).is_relative_to(chosen["mount"])


def is_timeline(name: str | None) -> bool:
    """Return whether a timeline can have this name, which is that of a folder, too."""
    return name is not None and bool(_TIMELINE.match(name))


def noted(master: Master) -> Notes:
    """
    Return what is noted, by timeline and file name.

    Raises FleetError when the file is damaged.
    """
    path = master.config / NOTES
    try:
        return checked(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise FleetError(
            f"{path} is damaged ({error}): put its copy back, or remove it to have the files of "
            "the archive noted as they are now"
        ) from error


def checked(content: bytes) -> Notes:
    """Return what notes say; raises ValueError for what are none."""
    found = json.loads(content)
    try:
        for timeline, names in found.items():
            for name, facts in names.items():
                if not is_timeline(timeline):
                    raise ValueError(f"{timeline!r} is no timeline")
                ends(name)
                if not _SHA256.match(facts["sha256"]):
                    raise ValueError(f"{timeline}/{name} has no SHA-256")
                int(facts["bytes"]), bool(facts["second"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(repr(error)) from error
    notes: Notes = found
    return notes


@contextlib.contextmanager
def edited(master: Master) -> Iterator[tuple[Notes, Callable[[], None]]]:
    """Give the notes, and what writes them, while nobody else changes them."""
    path = master.config / NOTES
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_name(f".{NOTES}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        # Of who was killed.
        for left in master.state.glob(f"{OWN}*"):
            shutil.rmtree(left)
        notes = noted(master)
        yield notes, lambda: files.write_json(path, {key: notes[key] for key in sorted(notes)})


def ends(name: str) -> tuple[Moment, Moment]:
    """
    Return the operation times of the first and the last entry of a closed file.

    Raises ValueError when that is no name of one.
    """
    found = mongodb_segments.segment(Path(name))
    if found is None or found.last is None or "/" in name:
        raise ValueError(f"{name!r} is no closed file of an archive")
    return (found.first.time, found.first.inc), (found.last.time, found.last.inc)


def last(name: str) -> Moment:
    return ends(name)[1]


def moment(text: str) -> Moment:
    seconds, _, ordinal = text.partition(":")
    return int(seconds), int(ordinal)


def known(master: Master, entry: Mapping[str, Any]) -> dict[str, str]:
    """
    Return the SHA-256, by file name, of what is noted of a backup's timeline after its time.

    entry
        What is noted of the backup (:func:`fleet.backups.noted`).
    """
    after = moment(entry["to"]["time"])
    there = noted(master).get(str(entry["timeline"]), {})
    return {name: facts["sha256"] for name, facts in there.items() if last(name) > after}


def by_path(paths: Iterable[str], noted_: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256, by path, of those files of an archive that are noted (:func:`known`)."""
    return {path: noted_[Path(path).name] for path in paths if Path(path).name in noted_}


def reach(names: Iterable[str], after: Moment) -> Moment | None:
    """Return how far files without a gap lead on from a time, or None when they do not at all."""
    reached = after
    for first, last in sorted(map(ends, names)):
        if first <= reached < last:
            reached = last
    return reached if reached > after else None


def copied_until(master: Master) -> datetime | None:
    """Return until when the second place alone has everything; None where it has no backup."""
    copied = [each for each in backups.noted(master) if each["second"]]
    if not copied:
        return None
    newest = copied[-1]
    there = noted(master).get(str(newest["timeline"]), {})
    names = [name for name, facts in there.items() if facts["second"]]
    until = reach(names, moment(newest["to"]["time"]))
    return (
        max(backups.wall(newest), datetime.fromtimestamp(until[0], UTC))
        if until
        else backups.wall(newest)
    )


def batches(sizes: Mapping[str, int]) -> list[list[str]]:
    batches: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if not batches or size > room:
            batches.append([])
            room = _BATCH
        batches[-1].append(name)
        room -= size
    return batches
