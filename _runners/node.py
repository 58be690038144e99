"""Single nodes of the fleet: how they stand, and making one anew whose machine is gone."""

from typing import Any

from fleet import command, nodes
from fleet.master import Master

__context__: dict[str, Any]
__opts__: dict[str, Any]
__func_alias__ = {"list_": "list"}


@command.checked
def list_() -> dict[str, dict[str, Any]]:
    """
    Return the nodes of the fleet's topology and how they stand with the master, in its order.

    Each has ``address``, ``roles``, ``key`` (``accepted``; ``another`` than the expected one is
    accepted; ``expected``, and not offered yet; ``none``), ``answers`` (bool) and ``leaving``
    (bool: it is on its way out, or has left).

    CLI Example:

    .. code-block:: bash

        salt-run node.list
    """
    return nodes.table(Master(__opts__))


@command.checked
def replace(
    id: str,  # pylint: disable=redefined-builtin
    confirm: str | None = None,
    wait: float = 0,
) -> dict[str, Any]:
    """
    Make a node anew whose machine is gone, once there is a new machine with its ID and address.

    The key of the old machine is forgotten, so that the expected one of the new machine is
    accepted. Then the node gets its place in the volume's pool, the replica set and the balancers
    again, with the revision that the fleet is on, one step after the other. What failed or died
    half-way goes on when it is given again. Refused, with nothing changed, for a node that is
    alive.

    id
        The node's minion ID.
    confirm
        The same once more: what the old machine had is given up.
    wait
        Seconds to wait for another change to end.

    Returns the change as ``rollout.history`` has it.

    CLI Example:

    .. code-block:: bash

        salt-run node.replace db-3 confirm=db-3
    """
    return nodes.replace(Master(__opts__), id, confirm, wait)
