"""
Backups that this master has noted, and which of them are kept.

``backups.json`` in the master's configuration folder, which is part of the copy that a new master
gets, has ``backups``, the oldest first. Root of any node can write to the volume, so a backup there
is believed only when its manifest is, byte for byte, the one that was noted when it was made.
"""

import contextlib
import fcntl
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet import files
from fleet.errors import FleetError
from fleet.master import Master

#: Of the master's configuration folder.
NOTES = "backups.json"
#: Made by the schedule, by a command, before a restore, or brought from elsewhere. Only the first
#: are removed by themselves.
SCHEDULED, MANUAL, BEFORE_RESTORE, ADOPTED = "scheduled", "manual", "before-restore", "adopted"
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,63}\Z")
_OPTIME = re.compile(r"(\d+):(\d+)\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
#: Seconds in which the archive of the oplog has not yet what happened.
_RECENT = 120
#: What is noted of each, beside ``second`` and ``drill``.
_KEYS = ("name", "kind", "set", "timeline", "sha256", "to", "ended", "bytes", "documents")
#: What a backup stands for, by the name of its place in ``backup:keep``: a time of the same text is
#: of the same hour, day or week.
PERIODS = {"hourly": "%Y-%m-%dT%H", "daily": "%Y-%m-%d", "weekly": "%G-W%V"}


def check_name(name: str) -> str:
    """Return a name that a backup can have; raises FleetError for another."""
    if not _NAME.match(name):
        raise FleetError(
            f"{name!r} cannot be the name of a backup: use up to 64 letters, digits and '_.-', and "
            "begin with a letter or a digit"
        )
    return name


def noted(master: Master) -> list[dict[str, Any]]:
    """
    Return what is noted of each backup, the oldest first.

    Each has ``name``, ``kind``, ``set`` (the replica set), ``timeline`` (of the set, see
    docs/backup.md), ``sha256`` (of the manifest), ``to`` (``time`` and ``wall``: what it restores),
    ``ended``, ``bytes``, ``documents``, ``second`` (when it was copied to the second place, or
    None) and ``drill`` (what its last drill came to, or None). Times are ISO 8601.

    Raises FleetError when the file is damaged.
    """
    path = master.config / NOTES
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["backups"]
        for each in found:
            if not _NAME.match(each["name"]) or not _SHA256.match(each["sha256"]):
                raise ValueError(f"{each['name']!r} is no backup")
            {key: each[key] for key in (*_KEYS, "second", "drill")}
            wall(each)
    except FileNotFoundError:
        return []
    except (KeyError, TypeError, ValueError) as error:
        raise FleetError(
            f"{path} is damaged ({error!r}): put its copy back, or remove it and note the backups "
            "on the volume again with `salt-run backup.adopt NAME`"
        ) from error
    return sorted(found, key=wall)


def wall(entry: Mapping[str, Any]) -> datetime:
    """Return the time that a backup restores."""
    return datetime.fromisoformat(entry["to"]["wall"]).astimezone(UTC)


def is_before(entry: Mapping[str, Any], target: str) -> bool:
    """
    Return whether a backup is of a time from which a target can be reached.

    target
        An operation time (``SECONDS:ORDINAL``) or a time with its zone, ISO 8601.

    Raises FleetError when it is neither.
    """
    if found := _OPTIME.match(target):
        own = _OPTIME.match(entry["to"]["time"])
        return own is not None and tuple(map(int, own.groups())) <= tuple(map(int, found.groups()))
    return wall(entry) <= _when(target)


def is_recent(target: str) -> bool:
    """Return whether a target, as of :func:`is_before`, is of the last minutes or still to come."""
    found = _OPTIME.match(target)
    when = int(found[1]) if found else _when(target).timestamp()
    return time.time() - when < _RECENT


def _when(target: str) -> datetime:
    try:
        when = datetime.fromisoformat(target)
    except ValueError as error:
        raise FleetError(
            f"{target!r} is no time: write one with its zone, as 2026-11-28T03:12:00Z, an "
            "operation time, as 1795836367:77, or latest"
        ) from error
    if when.tzinfo is None:
        raise FleetError(f"{target} has no zone: write it with one, as {target}Z for UTC")
    return when


def find(master: Master, name: str | None = None) -> dict[str, Any]:
    """
    Return what is noted of a backup; of the newest without a name.

    Raises FleetError when there is none, with the last ones that there are.
    """
    there = noted(master)
    if not there:
        raise FleetError("there is no backup yet: `salt-run backup.run` makes one")
    if name is None:
        return there[-1]
    for each in there:
        if each["name"] == name:
            return each
    known = ", ".join(each["name"] for each in there[-5:])
    raise FleetError(
        f"this master has noted no backup {name!r}; the last ones: {known}. `salt-run backup.list` "
        "lists all, and `salt-run backup.adopt NAME` notes one that somebody else has made"
    )


def add(master: Master, kind: str, name: str, info: Mapping[str, Any]) -> dict[str, Any]:
    """
    Note a backup, and return what is noted of it.

    kind
        :data:`SCHEDULED`, :data:`MANUAL`, :data:`BEFORE_RESTORE` or :data:`ADOPTED`.
    info
        What ``mongodb_backup.info`` of the node says of it.
    """
    states = info["collections"].values()
    entry = {
        "name": name,
        "kind": kind,
        **{key: info[key] for key in ("set", "sha256", "to", "ended", "bytes")},
        # Backups of before there were timelines have none.
        "timeline": info.get("timeline"),
        "documents": sum(each.get("read") or 0 for each in states),
        "second": None,
        "drill": None,
    }
    with _edited(master) as there:
        there[name] = entry
    return entry


def update(master: Master, name: str, **facts: Any) -> None:
    """Note more of a backup; nothing where it is not noted any more."""
    with _edited(master) as there:
        if name in there:
            there[name].update(facts)


def forget(master: Master, names: Sequence[str]) -> None:
    """Have backups not noted any more, before they are removed."""
    with _edited(master) as there:
        for name in names:
            there.pop(name, None)


@contextlib.contextmanager
def _edited(master: Master) -> Iterator[dict[str, dict[str, Any]]]:
    """Change what is noted, by name, while nobody else does."""
    path = master.config / NOTES
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_name(f".{NOTES}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        there = {each["name"]: each for each in noted(master)}
        yield there
        files.write_json(path, {"backups": sorted(there.values(), key=wall)})


def expired(entries: Sequence[Mapping[str, Any]], keep: Mapping[str, int]) -> list[str]:
    """
    Return the names of the scheduled backups that are not kept any more.

    keep
        For how many ``hourly``, ``daily`` and ``weekly`` the newest backup of the hour, the day and
        the week (of UTC, from Monday) is kept. Hours, days and weeks without a backup do not count.

    The newest of all always stays, and so does each that was not made by the schedule.
    """
    newest_first = sorted(
        (each for each in entries if each["kind"] == SCHEDULED), key=wall, reverse=True
    )
    kept = {each["name"] for each in newest_first[:1]}
    for period, form in PERIODS.items():
        of_each: dict[str, str] = {}
        for each in newest_first:
            of_each.setdefault(wall(each).strftime(form), each["name"])
        kept |= set(list(of_each.values())[: keep[period]])
    return [each["name"] for each in reversed(newest_first) if each["name"] not in kept]


def settings(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the settings of ``backup`` in a revision's pillar, with what an older one lacks.

    ``mount`` (of the volume), ``folder`` (path below it), ``every`` (seconds between two scheduled
    backups; 0 is none), ``keep`` (``hourly``, ``daily``, ``weekly``), ``drill_every`` (seconds; 0
    is none), ``archive`` (``enabled``, ``folder`` …) and ``second`` (None or a mapping, see
    :mod:`fleet.second`).

    Raises FleetError with a sentence for each that cannot be meant.
    """
    given = chosen.get("backup") or {}
    mount = chosen["gluster"]["mount"]
    found = {
        "mount": mount,
        "folder": f"{mount}/backups",
        "every": 0,
        "drill_every": 0,
        "second": None,
        **given,
        "keep": {"hourly": 24, "daily": 7, "weekly": 4, **(given.get("keep") or {})},
        "archive": {"enabled": False, **(given.get("archive") or {})},
    }
    numbers = {f"backup:{key}": found[key] for key in ("every", "drill_every")}
    numbers.update({f"backup:keep:{key}": value for key, value in found["keep"].items()})
    problems = [
        f"{key} in pillar/backup.sls must be a whole number from 0, not {value!r}"
        for key, value in numbers.items()
        if type(value) is not int or value < 0
    ]
    problems += [
        f"backup:keep in pillar/backup.sls has no {key!r}: there are {', '.join(PERIODS)}"
        for key in found["keep"]
        if key not in PERIODS
    ]
    if not Path(str(found["folder"])).is_relative_to(mount):
        problems.append(
            f"backup:folder in pillar/backup.sls must lie on the volume, below {mount}, not "
            f"{found['folder']!r}"
        )
    if problems:
        raise FleetError(*problems)
    return found
