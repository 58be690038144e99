"""What a change writes down as it goes, and the history of those that have ended."""

import json
import re
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet import files
from fleet.errors import FleetError
from fleet.lock import now

#: Journals that are kept; the history has a line of every change.
KEPT = 50
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}\Z")


def make_id() -> str:
    """Return a new ID of a change: when it began, in UTC, and four random digits."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class Journal:
    """
    The journal of one change: ``changes/<id>.jsonl`` in the master's state folder.

    Each line has ``time``, ``at`` (the same in seconds since 1970, to the millisecond) and
    ``event``: ``begun``, ``note`` (facts to go by), ``begins``, ``done`` and ``fails`` (a step),
    ``hook``, ``ended``.
    """

    def __init__(self, folder: Path, id_: str) -> None:
        self.id = id_
        self.path = folder / "changes" / f"{id_}.jsonl"

    def write(self, event: str, **facts: Any) -> None:
        """Add a line."""
        line = {"time": now(), "at": round(time.time(), 3), "event": event, **facts}
        files.append(self.path, json.dumps(line))

    def lines(self) -> list[dict[str, Any]]:
        """Return all lines, in their order."""
        return files.lines_of_json(self.path)

    def facts(self) -> dict[str, Any]:
        """Return what the change has noted of itself; the last word on each thing."""
        found: dict[str, Any] = {}
        for line in self.lines():
            if line["event"] in ("begun", "note"):
                found.update({k: v for k, v in line.items() if k not in ("time", "at", "event")})
        return found

    def at(self) -> dict[str, Any] | None:
        """Return the step that had begun and neither ended nor failed, or None."""
        begun: list[dict[str, Any]] = []
        for line in self.lines():
            if line["event"] == "begins":
                begun.append(line)
            elif line["event"] in ("done", "fails") and begun:
                begun.pop()
        return begun[-1] if begun else None


def journals(folder: Path) -> list[str]:
    """Return the IDs of the journals that are kept, oldest first."""
    return sorted(path.stem for path in (folder / "changes").glob("*.jsonl"))


def find(folder: Path, id_: str | None) -> Journal:
    """
    Return the journal of a change, or the last one.

    Raises FleetError when there is none of that ID.
    """
    known = journals(folder)
    wanted = id_ or (known[-1] if known else None)
    if wanted is None:
        raise FleetError("there was no change yet")
    if not _ID.match(wanted) or wanted not in known:
        raise FleetError(
            f"there is no journal of a change {wanted!r} (the last ones: "
            f"{', '.join(known[-3:]) or 'none'}): `salt-run rollout.history` lists them"
        )
    return Journal(folder, wanted)


def prune(folder: Path) -> None:
    """Delete the oldest journals beyond those that are kept."""
    for id_ in journals(folder)[:-KEPT]:
        Journal(folder, id_).path.unlink()


def record(folder: Path, entry: dict[str, Any]) -> None:
    """Add a change that has ended to the history."""
    files.append(folder / "history.jsonl", json.dumps(entry))


def history(folder: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """Return the last changes that have ended, newest first; all of them without a limit."""
    return files.lines_of_json(folder / "history.jsonl")[::-1][:limit]
