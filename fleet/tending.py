"""
What Salt's schedule on the master does for backups every few minutes: whatever is due.

So a backup that could not be made is made as soon as it can be, and a master that was down catches
up. ``backup.json`` in the master's state folder says what the last turn came to.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from salt.exceptions import SaltException

from fleet import (
    backup,
    backups,
    drill,
    files,
    keeping,
    lock,
    revision,
    second,
    segments,
    unfinished,
)
from fleet.errors import sentences
from fleet.lock import now
from fleet.master import Master
from fleet.minions import Minions, ask

_FILE = "backup.json"
#: Seconds after which a drill that failed is made again.
_AGAIN = 900


def tend(master: Master, minions: Minions) -> dict[str, Any]:
    """
    Make a backup, copy it and the archive, prove one, and remove what is old, each when it is due.

    Does nothing before the first rollout, while a change runs, and while a restore waits to be
    finished.

    Returns ``did`` and ``problems``, sentences, and ``retcode`` 1 when there are problems.

    Raises FleetError when settings or notes cannot be read.
    """
    base = revision.base(master)
    holder = lock.holder(master.state)
    if base is None or (holder and holder["alive"]) or unfinished.problems(master):
        return {"did": [], "problems": []}
    chosen = backups.settings(base.settings)
    did: list[str] = []
    problems: list[str] = []

    def attempt(what: str, action: Callable[[], str]) -> None:
        try:
            did.append(f"{what}: {action()}")
        except (SaltException, OSError) as error:
            problems.extend(f"{what}: {each}" for each in sentences(error))

    if _due(backups.noted(master), "ended", chosen["every"]):

        def make() -> str:
            made = backup.run(master, minions, kind=backups.SCHEDULED)
            problems.extend(made["problems"])
            return f"{made['name']}, {made['documents']} documents; removed {len(made['removed'])}"

        attempt("backup", make)
    there = backups.noted(master)
    if chosen["second"]:
        for entry in [each for each in there if not each["second"]][::-1]:
            attempt(f"second place: {entry['name']}", partial(_copy, master, chosen, entry))
    if there and segments.on_volume(chosen):

        def note() -> str:
            return ", ".join(f"{word} {n}" for word, n in keeping.keep(master, chosen).items())

        attempt("files of the archive", note)
    drills = sorted(
        (each["drill"] for each in there if each["drill"]), key=lambda each: str(each["ended"])
    )
    # One that failed may have met a member that was restarted.
    again = any(each["problem"] for each in drills[-1:])
    every = min(chosen["drill_every"], _AGAIN) if again else chosen["drill_every"]
    if there and _due(drills, "ended", every):

        def prove() -> str:
            found = drill.run(master, minions)
            return f"{found['name']}, {found['documents']} documents, to {found['to']['wall']}"

        attempt("drill", prove)
    if there and chosen["archive"]["enabled"]:

        def prune() -> str:
            node = backup.holder(minions, base)
            arguments = [chosen["archive"]["folder"], there[0]["to"]["time"]]
            found = ask(minions, [node], "mongodb_archive.prune", arguments, None, backup.LONG)
            return f"removed {found[node]['removed']} files"

        attempt("archive", prune)
    files.write_json(master.state / _FILE, {"ended": now(), "did": did, "problems": problems})
    return {"did": did, "problems": problems, **({"retcode": 1} if problems else {})}


def _copy(master: Master, chosen: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    return "copied" if second.copy(master, chosen, entry) else "was there"


def last(master: Master) -> dict[str, Any] | None:
    """Return ``ended``, ``did`` and ``problems`` of the last turn that had something to look at."""
    path = master.state / _FILE
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _due(entries: list[dict[str, Any]], key: str, every: int) -> bool:
    if not every:
        return False
    times = [datetime.fromisoformat(each[key]) for each in entries]
    return not times or datetime.now(UTC) - max(times) >= timedelta(seconds=every)
