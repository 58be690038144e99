"""
Which key each node must have, and which key was offered in its place.

For each node that was provisioned a file named like it, in the folder ``enrolled`` of the master's
configuration (default ``/etc/salt/counterapp/enrolled``), holds the SHA-256 fingerprint of its key.
Of the keys that were refused for a node the last one's fingerprint is kept, in the folder
``refused`` of the master's cache: one file a node, however many were offered.

The master's key store (``_cache/localfs_key.py``) and the runner ``enroll`` judge by this.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

import salt.key
from salt.exceptions import SaltException

from fleet import files, pillar
from fleet.errors import FleetError
from fleet.master import Master
from fleet.revision import BASE

#: What is safe as a file's name; minions choose theirs.
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_FINGERPRINT = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){31}\Z")
_FIRST, _LAST = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"

#: The state of what :func:`known` was read from, by master, and what it returned.
_read: dict[Path, tuple[Any, tuple[frozenset[str], str | None]]] = {}


# Whose key may be accepted


def known(master: Master) -> tuple[frozenset[str], str | None]:
    """
    Return the IDs of the nodes that may have a key, and what is wrong with the topology, or None.

    They are those of the checkout, since a node is provisioned before it is rolled out, and those
    that the fleet has; while the checkout's topology cannot be read, these alone. The file is read
    when it has changed.
    """
    rolled_out = master.state / BASE / "pillar"
    sources = [[rolled_out]] if _written(rolled_out) else []
    sources.append(master.pillars)
    state = [_written(folder) for folders in sources for folder in folders]
    seen = _read.get(master.state)
    if seen and seen[0] == state:
        return seen[1]
    nodes: set[str] = set()
    problem = None
    for folders in sources:
        try:
            nodes.update(pillar.select(master, folders)["nodes"])
        except (SaltException, ValueError, OSError) as error:
            problem = str(error)
    found = frozenset(nodes), problem
    _read[master.state] = state, found
    return found


def _written(folder: Path) -> tuple[int, int, int] | None:
    try:
        status = (folder / "topology.sls").stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def plausible(id_: Any) -> bool:
    """Return whether something can be the ID of a node at all."""
    return isinstance(id_, str) and bool(_ID.match(id_))


def canonical(key: Any) -> str | None:
    """
    Return a public key in PEM as a node writes its own, or None when it is none.

    Other line ends, blanks or first and last lines have the same fingerprint, and would not be
    taken for the same key by Salt.
    """
    if not isinstance(key, str):
        return None
    lines = [line.strip() for line in key.splitlines() if line.strip()]
    if len(lines) < 3 or (lines[0], lines[-1]) != (_FIRST, _LAST):
        return None
    return "\n".join(lines)


def fingerprint(key: str) -> str:
    """
    Return the fingerprint of a public key as a minion prints that of its own.

    It is of what is between the key's first and last line. `salt-key --finger` of 3008 hashes
    these two along and so shows another one for the same key.
    """
    lines = [line.strip() for line in key.splitlines() if line.strip()]
    digest = hashlib.sha256("".join(f"{line}\n" for line in lines[1:-1]).encode()).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def reason_against(master: Master, id_: str, key: Any, nodes: Collection[str]) -> str | None:
    """
    Return why a key may not be accepted for an ID, as a sentence; None when it may.

    id_
        The ID that it was offered for.
    key
        The public key, in PEM.
    nodes
        The IDs that may have a key.
    """
    if id_ not in nodes:
        return f"the key of {id_!r} is left out: the topology has no such node"
    wanted = expected(master, id_)
    if wanted is None:
        return (
            f"the key of {id_!r} is left out: no fingerprint was noted for it; "
            "`salt-run enroll.expect` does that"
        )
    text = canonical(key)
    if text is None:
        return f"the key of {id_!r} is left out: it is no public key in PEM"
    offered = fingerprint(text)
    return None if offered == wanted else _another(id_, offered, wanted)


def _another(id_: str, offered: str, wanted: str) -> str:
    return (
        f"the key of {id_!r} is left out: its fingerprint is {offered}, expected is {wanted}; "
        "if the node was made anew, note its new one with `salt-run enroll.expect`"
    )


# What an operator says and asks


def expect(master: Master, id_: str, wanted: str) -> dict[str, Any]:
    """
    Note the fingerprint that a node's key must have; what was refused for it is forgotten.

    Returns what :func:`authenticate` does.

    Raises FleetError when it is no fingerprint or there is no such node.
    """
    wanted = wanted.strip().lower()
    if not _FINGERPRINT.match(wanted):
        raise FleetError(
            f"{wanted!r} is no SHA-256 fingerprint: give the 32 pairs with colons that "
            "`salt-call --local key.finger` prints on the node"
        )
    nodes, problem = known(master)
    if id_ not in nodes:
        raise FleetError(
            problem
            or f"{id_!r} is not in the topology (it has {', '.join(sorted(nodes))}): add it to "
            "pillar/topology.sls first"
        )
    files.write(_path(master, "enrolled", id_), f"{wanted}\n")
    settle(master, id_)
    return authenticate(master, id_)


def authenticate(master: Master, id_: str) -> dict[str, Any]:
    """
    Tell how a node's key stands, and if it was refused, why.

    Returns ``id``, ``state`` (``accepted``, ``absent``, ``refused``) and ``reason``; where it does
    not stand well, in the reason's place ``failed``, and ``retcode`` 1.
    """
    nodes, problem = known(master)
    if problem and id_ not in nodes:
        raise FleetError(problem)
    accepted = _accepted(master, id_)
    against = reason_against(master, id_, accepted or "", nodes)
    if against is None:
        return {"id": id_, "state": "accepted", "reason": "it has the expected fingerprint"}
    wanted = expected(master, id_) if id_ in nodes else None
    if wanted is None:
        return _failed(id_, "refused", against)
    if accepted:
        return _failed(
            id_,
            "accepted",
            f"another key of {id_!r} is accepted, with {fingerprint(accepted)}: if the node was "
            f"made anew, remove the old one with `salt-key -d {id_}`",
        )
    if offered := refused(master).get(id_):
        return _failed(id_, "refused", _another(id_, offered["fingerprint"], wanted))
    return {"id": id_, "state": "absent", "reason": "it is accepted when it is offered next"}


def _failed(id_: str, state: str, reason: str) -> dict[str, Any]:
    return {"retcode": 1, "failed": [reason], "id": id_, "state": state}


def _accepted(master: Master, id_: str) -> str | None:
    """Return the key that is accepted for an ID, or None."""
    if not plausible(id_):
        return None
    with salt.key.get_key(dict(master.opts)) as keys:
        text: str | None = keys.key_str(id_).get("minions", {}).get(id_)
    return text


# What is kept


def expected(master: Master, id_: str) -> str | None:
    """Return the fingerprint that the key of an ID must have, or None when none was noted."""
    return _content(_path(master, "enrolled", id_))


def all_expected(master: Master) -> dict[str, str | None]:
    """Return the fingerprints that were noted, by ID."""
    return {id_: expected(master, id_) for id_ in _names(master, "enrolled")}


def forget(master: Master, id_: str) -> str | None:
    """Forget the fingerprint of an ID, and return it."""
    before = expected(master, id_)
    _path(master, "enrolled", id_).unlink(missing_ok=True)
    return before


def refuse(master: Master, id_: str, key: Any) -> None:
    """Note the key that was refused for an ID of the topology, in place of the one before it."""
    text = canonical(key)
    offered = fingerprint(text) if text else "no public key in PEM"
    path = _path(master, "refused", id_)
    if _content(path) == offered:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{id_}.{os.getpid()}")
    # Anybody can have this written, so the disk is not waited for.
    partial.write_text(f"{offered}\n", encoding="ascii")
    partial.replace(path)


def settle(master: Master, id_: str) -> None:
    """Forget what was refused for an ID: its own key has come."""
    _path(master, "refused", id_).unlink(missing_ok=True)


def refused(master: Master) -> dict[str, dict[str, str]]:
    """
    Return the last key that was refused for each ID: ``fingerprint``, and ``since``.

    ``since`` is when it was offered first in a row, in ISO 8601 with the offset to UTC.
    """
    found = {}
    for id_ in _names(master, "refused"):
        with contextlib.suppress(FileNotFoundError):
            path = _path(master, "refused", id_)
            when = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
            found[id_] = {
                "fingerprint": path.read_text(encoding="ascii").strip(),
                "since": when.isoformat(timespec="seconds"),
            }
    return found


def _folder(master: Master, kind: str) -> Path:
    return master.config / kind if kind == "enrolled" else Path(master.opts["cachedir"]) / kind


def _path(master: Master, kind: str, id_: str) -> Path:
    if not plausible(id_):
        raise FleetError(f"{id_!r} cannot be the ID of a node")
    return _folder(master, kind) / id_


def _names(master: Master, kind: str) -> list[str]:
    folder = _folder(master, kind)
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if plausible(path.name))


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
