"""
Who may join: the key of a node is accepted when it is the one read where the node was made.

For each node of the topology that was provisioned a file named like it, in
``<counterapp_config>/enrolled`` (default ``/etc/salt/counterapp/enrolled``), holds the SHA-256
fingerprint of its key. A key is accepted only with such a record, only for an ID of the topology,
and only when it is exactly that key. It makes no difference whether the record or the minion comes
first: the reactor for ``salt/auth`` asks here each time that a minion knocks.
"""

import contextlib
import hashlib
import logging
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

import salt.key
from salt.exceptions import CommandExecutionError

__context__: dict[str, Any]
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

log = logging.getLogger(__name__)
_FINGERPRINT = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){31}\Z")


def _folder() -> pathlib.Path:
    return pathlib.Path(__opts__.get("counterapp_config", "/etc/salt/counterapp")) / "enrolled"


def _fail(reason: str, **facts: Any) -> dict[str, Any]:
    __context__["retcode"] = 1
    return {"retcode": 1, "failed": [reason], **facts}


def expect(id: str, fingerprint: str) -> dict[str, Any]:  # pylint: disable=redefined-builtin
    """
    Note the fingerprint that a node's key must have, and accept the key if it waits already.

    id
        The minion ID; one of the topology.
    fingerprint
        SHA-256 of its public key, as ``salt-call --local key.finger`` prints it on the node: 32
        pairs of hexadecimal digits with colons.

    Returns what :py:func:`authenticate` does. A record of another fingerprint is replaced; a key
    that was accepted already is left as it is and reported when it is another one.

    CLI Example:

    .. code-block:: bash

        salt-run enroll.expect web-1 5d:…:9a
    """
    fingerprint = str(fingerprint).strip().lower()
    if not _FINGERPRINT.match(fingerprint):
        return _fail(
            f"{fingerprint!r} is no SHA-256 fingerprint: give the 32 pairs with colons that "
            "`salt-call --local key.finger` prints on the node",
            id=id,
        )
    try:
        nodes = __salt__["counterapp.topology"]()["nodes"]
    except CommandExecutionError as error:
        return _fail(str(error), id=id)
    if id not in nodes:
        return _fail(
            f"'{id}' is not in the topology (it has {', '.join(nodes)}): add it to "
            "pillar/topology.sls first",
            id=id,
        )
    _record(id, fingerprint)
    return authenticate(id)


def forget(id: str) -> dict[str, Any]:  # pylint: disable=redefined-builtin
    """
    Forget the fingerprint of a node, so that no key is accepted for its ID any more.

    A key that was accepted stays accepted: ``salt-key -d`` takes it out.

    id
        The node's minion ID.

    CLI Example:

    .. code-block:: bash

        salt-run enroll.forget web-1
    """
    expected = _expected(id)
    with contextlib.suppress(FileNotFoundError):
        (_folder() / _plain(id)).unlink()
    return {"id": id, "forgotten": expected}


def authenticate(id: str) -> dict[str, Any]:  # pylint: disable=redefined-builtin
    """
    Look at the key that waits under an ID, and accept it if it is the expected one.

    Returns ``id``, ``state`` (``accepted``, ``pending``, ``absent``) and ``reason``. A key that is
    not the expected one stays where it is, unaccepted, and is a failure, as is a stranger's.

    id
        The node's minion ID.

    CLI Example:

    .. code-block:: bash

        salt-run enroll.authenticate web-1
    """
    try:
        nodes = __salt__["counterapp.topology"]()["nodes"]
        known = id in nodes and _expected(id)
    except CommandExecutionError as error:
        return _fail(str(error), id=id)
    if not known:
        reason = (
            f"the key of '{id}' is left out: no fingerprint was noted for it; "
            "`salt-run enroll.expect` does that"
            if id in nodes
            else f"the key of '{id}' is left out: the topology has no such node"
        )
        log.warning(reason)
        return _fail(reason, id=id, state="pending")
    with salt.key.get_key(__opts__) as keys:
        before = _fingerprint(keys, "minions", id)
        if before == known:
            return {"id": id, "state": "accepted", "reason": "it was accepted already"}
        if before:
            return _fail(
                f"another key of '{id}' is accepted, with {before}: if the node was made anew, "
                f"remove the old one with `salt-key -d {id}`",
                id=id,
                state="accepted",
            )
        offered = _fingerprint(keys, "minions_pre", id)
        if offered is None:
            return {"id": id, "state": "absent", "reason": "it is expected and has not knocked yet"}
        if offered != known:
            reason = (
                f"the key of '{id}' is left out: its fingerprint is {offered}, expected is {known}"
                "; if the node was made anew, note its new one with `salt-run enroll.expect`"
            )
            log.warning(reason)
            return _fail(reason, id=id, state="pending")
        keys.accept(match_dict={"minions_pre": [id]})
        # Accepting can be reported without having happened (salt#63477).
        if _fingerprint(keys, "minions", id) != known:
            return _fail(f"the key of '{id}' was not accepted: accept it by hand", id=id)
    log.info("The key of %s was accepted: it has the expected fingerprint", id)
    return {"id": id, "state": "accepted", "reason": "it has the expected fingerprint"}


def expected() -> dict[str, str | None]:
    """
    Return the fingerprints that were noted, by ID.

    CLI Example:

    .. code-block:: bash

        salt-run enroll.expected
    """
    folder = _folder()
    if not folder.is_dir():
        return {}
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return {name: _expected(name) for name in names}


def _plain(id: str) -> str:  # pylint: disable=redefined-builtin
    """Return an ID that is safe as a file's name; minions choose theirs."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", str(id)):
        raise CommandExecutionError(f"{id!r} cannot be the ID of a node")
    return str(id)


def _expected(id: str) -> str | None:  # pylint: disable=redefined-builtin
    try:
        return (_folder() / _plain(id)).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None


def _record(id: str, fingerprint: str) -> None:  # pylint: disable=redefined-builtin
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = folder / f".{_plain(id)}.{os.getpid()}"
    partial.write_text(f"{fingerprint}\n", encoding="ascii")
    partial.replace(folder / _plain(id))


def _fingerprint(
    keys: salt.key.Key,
    state: str,
    id: str,  # pylint: disable=redefined-builtin
) -> str | None:
    """
    Return the fingerprint of the key that an ID has in a state, or None.

    It is the one that a minion prints of itself: of what is between the key's first and last line.
    `salt-key --finger` of 3008 hashes these two along and so shows another one for the same key.
    """
    text = keys.key_str(_plain(id)).get(state, {}).get(id)
    if text is None:
        return None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    digest = hashlib.sha256("".join(f"{line}\n" for line in lines[1:-1]).encode()).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
