"""
Changes that are not done with the process that began them: each has to be given again until it is
through, and others wait for that.

A file on the master, beside the history, says that one has begun, and what whoever goes on with it
has to know; never a secret.
"""

import json
from pathlib import Path
from typing import Any

from fleet import files
from fleet.master import Master

TLS = "storage_tls"
ROTATION = "secret_rotation"
RESTORE = "restore"
#: Why others wait, by the name of the file; with what the file has.
_WORDS = {
    TLS: (
        "a switch of Gluster's TLS has not come to its end, and the volume may be stopped or not "
        "mounted: run `salt-run storage.switch_tls`"
    ),
    ROTATION: (
        "the rotation of {secret} has not come to its end, and the old one is still good: run "
        "`salt-run secret.rotate {secret}`, which goes on"
    ),
    RESTORE: (
        "the restore of the backup {backup}, begun at {since}, has not come to its end: the "
        "application is shut out of the database, which may be half restored; run `salt-run "
        "backup.restore` again"
    ),
}


def _path(master: Master, kind: str) -> Path:
    return master.state / f"{kind}.json"


def note(master: Master, kind: str, **facts: Any) -> None:
    """
    Note that a change of this kind has begun, with what whoever goes on has to know.

    Raises OSError when it cannot be written.
    """
    files.write_json(_path(master, kind), facts)


def noted(master: Master, kind: str) -> dict[str, Any] | None:
    """Return what was noted of a change of this kind that has not come to its end, or None."""
    try:
        found: dict[str, Any] = json.loads(_path(master, kind).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def forget(master: Master, kind: str) -> None:
    """Note that a change of this kind has come to its end, or has not begun."""
    _path(master, kind).unlink(missing_ok=True)


def problems(master: Master, but: str | None = None) -> list[str]:
    """
    Return a sentence for each change that has to come to its end before another one begins.

    but
        The kind of change that goes on, and so need not wait for itself.
    """
    kinds = {kind: noted(master, kind) for kind in _WORDS if kind != but}
    return [_WORDS[kind].format(**facts) for kind, facts in kinds.items() if facts is not None]
