"""Tokens for the operator's endpoints of the app."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt

from fleet import files, lock, pillar, revision, topology
from fleet.errors import FleetError, refuse
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
    claims = {"sub": who, "aud": "counterapp", "scope": " ".join(wanted), "exp": expires}
    signed = jwt.encode(claims, _key(master), algorithm="HS256")
    target = Path(path) if path else master.state / "operator.header"
    files.write(target, f"Authorization: Bearer {signed}\n")
    ends = datetime.fromtimestamp(expires, UTC).isoformat()
    return {"path": str(target), "subject": who, "scopes": wanted, "expires": ends}


def _key(master: Master) -> str:
    base = revision.base(master)
    folders = base.pillars if base else master.pillars
    web = topology.with_role(pillar.select(master, folders), "web")[0]
    key = pillar.of_node(master, folders, web).get("secrets", {}).get("counterapp_operator")
    if not key:
        raise FleetError(
            "the pillar has no secrets:counterapp_operator for the web nodes: run "
            "`/srv/counterapp/bootstrap/make-secrets /etc/salt/counterapp/pillar/secrets`"
        )
    return str(key)
