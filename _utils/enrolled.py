"""
Which key each node must have, and which key was offered in its place.

For each node that was provisioned a file named like it, in ``<counterapp_config>/enrolled``
(default ``/etc/salt/counterapp/enrolled``), holds the SHA-256 fingerprint of its key. Of the keys
that were refused for a node the last one's fingerprint is kept, in the folder ``refused`` of the
master's cache: one file a node, however many were offered.

The master's key store (``_cache/localfs_key.py``) and the runner ``enroll`` judge by this.
"""

import contextlib
import datetime
import hashlib
import os
import pathlib
import re
from collections.abc import Collection
from typing import Any

from salt.exceptions import CommandExecutionError

__opts__: dict[str, Any]

# What is safe as a file's name; minions choose theirs.
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_FIRST, _LAST = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


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


def reason_against(id_: str, key: Any, nodes: Collection[str]) -> str | None:
    """
    Return why a key may not be accepted for an ID, as a sentence; None when it may.

    id_
        The ID that it was offered for.
    key
        The public key, in PEM.
    nodes
        The IDs of the topology.
    """
    if id_ not in nodes:
        return f"the key of {id_!r} is left out: the topology has no such node"
    wanted = expected(id_)
    if wanted is None:
        return (
            f"the key of {id_!r} is left out: no fingerprint was noted for it; "
            "`salt-run enroll.expect` does that"
        )
    text = canonical(key)
    if text is None:
        return f"the key of {id_!r} is left out: it is no public key in PEM"
    offered = fingerprint(text)
    if offered != wanted:
        return (
            f"the key of {id_!r} is left out: its fingerprint is {offered}, expected is {wanted}; "
            "if the node was made anew, note its new one with `salt-run enroll.expect`"
        )
    return None


def expected(id_: str) -> str | None:
    """Return the fingerprint that the key of an ID must have, or None when none was noted."""
    return _read("enrolled", id_)


def all_expected() -> dict[str, str | None]:
    """Return the fingerprints that were noted, by ID."""
    return {id_: expected(id_) for id_ in _names("enrolled")}


def expect(id_: str, wanted: str) -> None:
    """Note the fingerprint that the key of an ID must have; what was refused is forgotten."""
    _write("enrolled", id_, wanted)
    _remove("refused", id_)


def forget(id_: str) -> str | None:
    """Forget the fingerprint of an ID, and return it."""
    before = expected(id_)
    _remove("enrolled", id_)
    return before


def refuse(id_: str, key: Any) -> None:
    """Note the key that was refused for an ID of the topology, in place of the one before it."""
    text = canonical(key)
    offered = fingerprint(text) if text else "no public key in PEM"
    if _read("refused", id_) != offered:
        _write("refused", id_, offered)


def settle(id_: str) -> None:
    """Forget what was refused for an ID: its own key has come."""
    _remove("refused", id_)


def refused() -> dict[str, dict[str, str]]:
    """
    Return the last key that was refused for each ID: ``fingerprint``, and ``since``.

    ``since`` is when it was offered first in a row, in ISO 8601 with the offset to UTC.
    """
    found = {}
    for id_ in _names("refused"):
        with contextlib.suppress(FileNotFoundError):
            path = _folder("refused") / id_
            when = datetime.datetime.fromtimestamp(path.stat().st_mtime).astimezone()
            found[id_] = {
                "fingerprint": path.read_text(encoding="ascii").strip(),
                "since": when.isoformat(timespec="seconds"),
            }
    return found


def _folder(kind: str) -> pathlib.Path:
    if kind == "enrolled":
        return pathlib.Path(__opts__.get("counterapp_config", "/etc/salt/counterapp")) / kind
    return pathlib.Path(__opts__["cachedir"]) / kind


def _path(kind: str, id_: str) -> pathlib.Path:
    if not plausible(id_):
        raise CommandExecutionError(f"{id_!r} cannot be the ID of a node")
    return _folder(kind) / id_


def _names(kind: str) -> list[str]:
    folder = _folder(kind)
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if plausible(path.name))


def _read(kind: str, id_: str) -> str | None:
    try:
        return _path(kind, id_).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None


def _write(kind: str, id_: str, text: str) -> None:
    path = _path(kind, id_)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{id_}.{os.getpid()}")
    partial.write_text(f"{text}\n", encoding="ascii")
    partial.replace(path)


def _remove(kind: str, id_: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        _path(kind, id_).unlink()
