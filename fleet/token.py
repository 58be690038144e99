"""Tokens for the operator's endpoints of the app."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt

from fleet import files, lock, secret_files
from fleet.errors import refuse
from fleet.master import Master

#: What a token can allow.
SCOPES = ("counters:read", "counters:write")
#: The longest in minutes that the app takes.
LONGEST = 1440


def make(
    master: Master,
    scopes: str = "counters:read",
    minutes: int = 15,
    subject: str | None = None,
    path: str | None = None,
) -> dict[str, Any]:
    """
    Make a token, and put it into a file of root's alone.

    The file holds the whole header, for ``curl --header @<file>``: so the token is in no argument,
    no log and no job cache. It is signed with the fleet's operator key and ends by itself; a new
    one takes the place of the one before.

    scopes
        What it allows, separated by commas or blanks: some of :data:`SCOPES`.
    minutes
        For how long it is good, from 1 to 1440.
    subject
        Whom the app's log shall name. Default: the user who runs this, at this host.
    path
        Where to put it. Default: ``operator.header`` in the master's state folder.

    Returns ``path``, ``subject``, ``scopes`` and ``expires``; never the token.

    Raises FleetError when it cannot be asked for, or the fleet has no operator key; and OSError
    when the file cannot be written.
    """
    wanted = sorted(set(scopes.replace(",", " ").split()))
    problems = []
    if not wanted or not set(wanted) <= set(SCOPES):
        problems.append(f"the scopes must be some of {', '.join(SCOPES)}, not {scopes!r}")
    if not 1 <= minutes <= LONGEST:
        problems.append(
            f"minutes must be from 1 to {LONGEST}, for the app takes no token that is good for "
            f"more than a day, not {minutes!r}"
        )
    refuse(problems)
    who = subject or lock.owner()
    expires = int(time.time()) + 60 * minutes
    made = signed(secret_files.value(master, "counterapp_operator"), wanted, expires, who)
    target = Path(path) if path else master.state / "operator.header"
    files.write(target, f"Authorization: Bearer {made}\n")
    ends = datetime.fromtimestamp(expires, UTC).isoformat()
    return {"path": str(target), "subject": who, "scopes": wanted, "expires": ends}


def signed(key: str, scopes: Sequence[str], expires: int, subject: str) -> str:
    """Return a token that a key has signed; it is good until ``expires``, in seconds since 1970."""
    claims = {"sub": subject, "aud": "counterapp", "scope": " ".join(scopes), "exp": expires}
    return jwt.encode(claims, key, algorithm="HS256")
