"""
Who may join: the key of a node is accepted when it is the one read where the node was made.

The fingerprint of each node's key is noted here. The master's key store (``_cache/localfs_key.py``)
lets in a key of an ID of the topology that has the noted fingerprint, at the moment that the minion
offers it, and no other. A minion that is not let in asks again every few seconds, so it makes no
difference whether the note or the minion comes first.

The topology is that of the checkout, since a node is provisioned before it is rolled out, and that
of the revision that the fleet is on.
"""

from typing import Any

from fleet import command, enroll
from fleet.master import Master

__context__: dict[str, Any]
__opts__: dict[str, Any]


@command.checked
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
    return enroll.expect(Master(__opts__), id, fingerprint)


@command.checked
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
    return {"id": id, "forgotten": enroll.forget(Master(__opts__), id)}


@command.checked
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
    return enroll.authenticate(Master(__opts__), id)


@command.checked
def expected() -> dict[str, str | None]:
    """
    Return the fingerprints that were noted, by ID.

    CLI Example:

    .. code-block:: bash

        salt-run enroll.expected
    """
    return enroll.all_expected(Master(__opts__))


@command.checked
def refused() -> dict[str, dict[str, str]]:
    """
    Return the last key that was refused for each node: its ``fingerprint``, and ``since`` when.

    Keys that strangers offered under other names are only counted in the master's log. What was
    refused before a node's own key came, or its fingerprint was noted, is forgotten.

    CLI Example:

    .. code-block:: bash

        salt-run enroll.refused
    """
    return enroll.refused(Master(__opts__))
