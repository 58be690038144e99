"""
Who may join: the key of a node is accepted when it is the one read where the node was made.

The fingerprint of each node's key is noted here. The master's key store (``_cache/localfs_key.py``)
lets in a key of an ID of the topology that has the noted fingerprint, at the moment that the minion
offers it, and no other. A minion that is not let in asks again every few seconds, so it makes no
difference whether the note or the minion comes first.
"""

import re
from collections.abc import Callable
from typing import Any

import salt.key
from salt.exceptions import CommandExecutionError

__context__: dict[str, Any]
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]
__utils__: dict[str, Callable[..., Any]]

_FINGERPRINT = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){31}\Z")


def _enrolled(function: str, *args: Any) -> Any:
    return __utils__[f"enrolled.{function}"](*args)


def _fail(reason: str, **facts: Any) -> dict[str, Any]:
    __context__["retcode"] = 1
    return {"retcode": 1, "failed": [reason], **facts}


def expect(id: str, fingerprint: str) -> dict[str, Any]:  # pylint: disable=redefined-builtin
    """
    Note the fingerprint that a node's key must have: it is accepted when it is offered next.

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
            f"{id!r} is not in the topology (it has {', '.join(nodes)}): add it to "
            "pillar/topology.sls first",
            id=id,
        )
    _enrolled("expect", id, fingerprint)
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
    return {"id": id, "forgotten": _enrolled("forget", id)}


def authenticate(id: str) -> dict[str, Any]:  # pylint: disable=redefined-builtin
    """
    Tell how a node's key stands, and if it was refused, why.

    Returns ``id``, ``state`` and ``reason``. ``state`` is ``accepted``, ``absent`` (it is expected
    and was not offered since) or ``refused``. It is a failure when another key than the expected
    one was accepted, when another one was offered for a node that has none yet, when none is
    expected, and when the topology has no such node.

    id
        The node's minion ID.

    CLI Example:

    .. code-block:: bash

        salt-run enroll.authenticate web-1
    """
    try:
        nodes = __salt__["counterapp.topology"]()["nodes"]
        accepted = _accepted(id)
        against = _enrolled("reason_against", id, accepted or "", nodes)
        wanted = _enrolled("expected", id) if id in nodes else None
    except CommandExecutionError as error:
        return _fail(str(error), id=id)
    if against is None:
        return {"id": id, "state": "accepted", "reason": "it has the expected fingerprint"}
    if wanted is None:
        return _fail(against, id=id, state="refused")
    if accepted:
        return _fail(
            f"another key of {id!r} is accepted, with {_enrolled('fingerprint', accepted)}: if the "
            f"node was made anew, remove the old one with `salt-key -d {id}`",
            id=id,
            state="accepted",
        )
    refused = _enrolled("refused").get(id)
    if refused:
        return _fail(
            f"the key of {id!r} is left out: its fingerprint is {refused['fingerprint']}, expected "
            f"is {wanted}; if the node was made anew, note its new one with "
            "`salt-run enroll.expect`",
            id=id,
            state="refused",
        )
    return {"id": id, "state": "absent", "reason": "it is accepted when it is offered next"}


def expected() -> dict[str, str | None]:
    """
    Return the fingerprints that were noted, by ID.

    CLI Example:

    .. code-block:: bash

        salt-run enroll.expected
    """
    found: dict[str, str | None] = _enrolled("all_expected")
    return found


def refused() -> dict[str, dict[str, str]]:
    """
    Return the last key that was refused for each node: its ``fingerprint``, and ``since`` when.

    Keys that strangers offered under other names are only counted in the master's log. What was
    refused before a node's own key came, or its fingerprint was noted, is forgotten.

    CLI Example:

    .. code-block:: bash

        salt-run enroll.refused
    """
    found: dict[str, dict[str, str]] = _enrolled("refused")
    return found


def _accepted(id: str) -> str | None:  # pylint: disable=redefined-builtin
    """Return the key that is accepted for an ID, or None."""
    if not _enrolled("plausible", id):
        return None
    with salt.key.get_key(__opts__) as keys:
        text: str | None = keys.key_str(id).get("minions", {}).get(id)
    return text
