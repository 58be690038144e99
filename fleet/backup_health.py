"""How far back and how far on the fleet's counters can be restored, and what is wrong with that."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fleet import backups, segments, tending
from fleet.master import Master
from fleet.minions import Answers, Minions
from fleet.words import duration

_ARCHIVE = "mongodb_archive.status"
#: Seconds until a node that has not answered is asked whether it is at it, and for the reply.
_TIMEOUT, _PATIENCE = 5, 4
#: A scheduled backup that is so many times later than it should be is missing.
_LATE = 2.0
#: Seconds after which it is at the second place, and what the archive has closed: a few turns of
#: the schedule.
_COPIED = 1800.0
#: Seconds after which the archive is behind, beyond those in which it writes to the disk.
_BEHIND = 60.0


def state(
    master: Master, minions: Minions, settings: Mapping[str, Any], members: Sequence[str]
) -> dict[str, Any]:
    """
    Return what can be restored.

    settings
        The pillar of the fleet's revision.
    members
        The nodes of the replica set that answer; the first tells of the archive.

    Returns ``newest`` (``name``, ``to``, ``age_s``, ``second``; None without any), ``number`` of
    backups, ``drill`` (of the last: ``name``, ``ended``, ``problem`` …, or None), ``archive``
    (what a node says of it, or None), ``recoverable_until`` (ISO 8601, or None), ``second_until``
    (the same from the second place alone) and ``problems``, sentences with the remedy.
    """
    chosen = backups.settings(settings)
    there = backups.noted(master)
    newest = there[-1] if there else None
    proved = max(
        (each for each in there if each["drill"]),
        key=lambda each: str(each["drill"]["ended"]),
        default=None,
    )
    # By itself: a volume that hangs must not take other answers with it.
    found = Answers()
    if chosen["archive"]["enabled"] and members:
        base = {"base": newest["to"]["time"]} if newest else {}
        folder = chosen["archive"]["folder"]
        found = minions.everyone(members[:1], _ARCHIVE, [folder], base, _TIMEOUT, _PATIENCE)
    archive = next((each for each in found.answers.values() if isinstance(each, Mapping)), None)
    until = ((archive or {}).get("recoverable_until") or (newest or {}).get("to") or {}).get("wall")
    copied = segments.copied_until(master)
    told: dict[str, Any] = {
        "newest": newest
        and {
            **{key: newest[key] for key in ("name", "to", "second")},
            "age_s": round((datetime.now(UTC) - backups.wall(newest)).total_seconds()),
        },
        "number": len(there),
        "drill": proved and {"name": proved["name"], **proved["drill"]},
        "archive": archive,
        "recoverable_until": until,
        "second_until": copied and copied.isoformat(),
    }
    return {**told, "problems": _problems(master, chosen, told, found)}


def _problems(
    master: Master, chosen: Mapping[str, Any], told: Mapping[str, Any], found: Answers
) -> list[str]:
    problems = []
    newest, drill, archive = told["newest"], told["drill"], told["archive"]
    last = tending.last(master)
    why = "; ".join(last["problems"]) if last else ""
    if chosen["every"] and newest and newest["age_s"] > _LATE * chosen["every"]:
        problems.append(
            f"the newest backup is {duration(newest['age_s'])} old, and one is wanted every "
            f"{duration(chosen['every'])}: {why or '`salt-run backup.run` says what hinders it'}"
        )
    if chosen["second"] and newest and not newest["second"] and newest["age_s"] > _COPIED:
        problems.append(
            f"the backup {newest['name']} is not at the second place after "
            f"{duration(newest['age_s'])}: {why or '`salt-run backup.tend` copies it'}"
        )
    if chosen["second"] and told["second_until"] and segments.on_volume(chosen):
        age = (datetime.now(UTC) - datetime.fromisoformat(told["second_until"])).total_seconds()
        if age > _COPIED + chosen["archive"].get("seal_seconds", 600):
            problems.append(
                f"the second place has the oplog until {duration(age)} ago and no further: "
                f"{why or '`salt-run backup.tend` copies it'}"
            )
    if drill and drill["problem"]:
        problems.append(
            f"the last drill, of the backup {drill['name']}, failed: {drill['problem']}; make "
            "another backup with `salt-run backup.run`, and prove it with `salt-run backup.drill`"
        )
    if chosen["archive"]["enabled"]:
        problems += _archive_problems(chosen["archive"], archive, found)
    return problems


def _archive_problems(
    chosen: Mapping[str, Any], archive: Mapping[str, Any] | None, found: Answers
) -> list[str]:
    if archive is None:
        return [f"how the archive of the oplog is, is not known: {x}" for x in found.problems()]
    if archive["problem"]:
        return [f"the archive of the oplog: {archive['problem']}"]
    until = archive["recoverable_until"]
    if until is None:
        return []
    age = (datetime.now(UTC) - datetime.fromisoformat(until["wall"])).total_seconds()
    if age <= chosen.get("sync_seconds", 10) + _BEHIND:
        return []
    return [
        f"the archive of the oplog ends {duration(age)} ago, and what came later could be lost: "
        "look at `systemctl status mongodb-archive` on the nodes of the database"
    ]
