"""
The fleet at a glance: how it is, what it is made of, and whether it counts.

What is told is of the revision that the fleet is on; before the first rollout it is of the
checkout.
"""

from typing import Any

from fleet import clocks as measuring
from fleet import command, disks, revision
from fleet import status as looking
from fleet.master import Master
from fleet.minions import SaltMinions
from fleet.verify import verify as count

__context__: dict[str, Any]
__opts__: dict[str, Any]


@command.checked
def status() -> dict[str, Any]:
    """
    Return how the fleet is; on a terminal each node's row stands there as soon as it has answered.

    Returns ``url``, ``topology`` (name), ``release``, ``revision``, ``drift`` (what of the checkout
    differs from it), ``lock``, ``moving`` (nodes between two revisions), ``last`` (change),
    ``vip`` (``holders``), ``replica_set`` (``members``, each with ``lag_s``), ``volume``,
    ``backup`` (``newest``, ``number``, ``drill``, ``archive``, ``recoverable_until``,
    ``second_until``) and ``nodes``. Each node has ``roles``, ``address``, ``os``, ``up`` (the
    minion answers), ``release`` (of a web server, what it serves), ``state`` (a few words on what
    it does), ``since`` (since when it is so), ``disk`` (by mount point ``free`` bytes, ``used``
    percent and ``full_in_s``: seconds left at the rate of the last hours, or None) and
    ``certificate`` (when it ends).

    The exit code is 1 when something is wrong, and ``failed`` says what, with the remedy: a node
    does not answer or its clock is more than 2 s off; an app is not ready; a balancer or a member
    of the replica set is down; the VIP is held by no balancer or by several; the volume is not
    healthy; a disk is full, a certificate ends; a change died before its end.

    CLI Example:

    .. code-block:: bash

        salt-run fleet.status
    """
    return looking.status(Master(__opts__))


@command.checked
def topology() -> dict[str, Any]:
    """
    Return the fleet's topology, checked: ``name``, ``network``, ``vip``, ``nodes`` by ID.

    CLI Example:

    .. code-block:: bash

        salt-run fleet.topology
    """
    return revision.present(Master(__opts__))[0]


@command.checked
def settings() -> dict[str, Any]:
    """
    Return the fleet's settings: the pillar of the master's own minion, without secrets.

    CLI Example:

    .. code-block:: bash

        salt-run fleet.settings
    """
    return revision.present(Master(__opts__))[1]


@command.checked
def verify(hits: int = 20, release: str | None = None, timeout: float = 30) -> dict[str, Any]:
    """
    Count hits through the VIP and see that exactly these were counted.

    hits
        How many hits to send to the counter ``rollout-verify``, at least one.
    release
        The release that every web node must answer with. Default: the fleet's.
    timeout
        Seconds until the VIP must answer at all.

    Returns ``url``, ``hits``, ``by_node`` (who counted how many) and ``release``.

    CLI Example:

    .. code-block:: bash

        salt-run fleet.verify hits=100
    """
    master = Master(__opts__)
    return count(master, SaltMinions(master), revision.require_base(master), hits, release, timeout)


@command.checked
def clocks() -> dict[str, Any]:
    """
    Hold the clocks of all nodes against each other.

    Returns ``wrong``: by how many seconds a clock is ahead of the others or behind them (< 0), by
    node. The exit code is 1 when one is more than 2 s off or was not told; ``failed`` says so.

    CLI Example:

    .. code-block:: bash

        salt-run fleet.clocks
    """
    master = Master(__opts__)
    nodes = revision.present(master)[0]["nodes"]
    wrong, failed = measuring.problems(SaltMinions(master), nodes, nodes)
    return {"wrong": wrong, **({"retcode": 1, "failed": failed} if failed else {})}


@command.checked
def measure() -> dict[str, Any]:
    """
    Note how much room each node's disks have, for ``fleet.status`` to tell when they will be full.

    Salt's schedule calls it every quarter of an hour.

    Returns a dictionary: ``measured`` (nodes) and ``failed`` (about those that did not answer; the
    exit code is 1 then).

    CLI Example:

    .. code-block:: bash

        salt-run fleet.measure
    """
    master = Master(__opts__)
    found = disks.measure(master, SaltMinions(master))
    if not found["failed"]:
        return {"measured": found["measured"]}
    return {**found, "retcode": 1}
