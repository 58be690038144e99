"""How the fleet is, at a glance: each node, what they are together, and all that is wrong."""

import sys
from collections.abc import Mapping
from typing import Any, TextIO

from fleet import (
    backup_health,
    certificate,
    clocks,
    disks,
    drift,
    edge,
    journal,
    lock,
    looking,
    overview,
    revision,
    unfinished,
)
from fleet.looking import Look
from fleet.master import Master
from fleet.minions import Minions, SaltMinions
from fleet.parts import Nodes, Together


def status(
    master: Master, minions: Minions | None = None, stream: TextIO | None = None
) -> dict[str, Any]:
    """
    Return how the fleet is.

    minions
        How to reach nodes; the master's unless given.
    stream
        Where a row for each node is shown as soon as it has answered, if it is a terminal; standard
        error unless given.

    Returns ``url``, ``topology`` (name), ``release``, ``revision`` (``id``, ``release``,
    ``created``, ``commit``, or None before the first rollout), ``drift`` (what of the checkout
    differs from it), ``lock`` (of the change that runs), ``moving`` (nodes between two revisions),
    ``last`` (the last change that has ended), ``vip`` (``address``, ``holders``), ``replica_set``
    (``primary``, ``members`` with ``lag_s``), ``volume`` (``name``, ``healthy``, ``reasons``),
    ``backup`` (what can be restored, see :func:`fleet.backup_health.state`) and ``nodes``.

    Each node has ``roles``, ``address``, ``os``, ``up`` (the minion answers), ``release`` (of a web
    server, what it serves), ``state`` (a few words on what it does), ``since`` (since when it is
    so), ``disk`` (by mount point ``free`` in bytes, ``used`` in percent and ``full_in_s``, the
    seconds left at the rate of the last hours, or None) and ``certificate`` (when it ends). Times
    are ISO 8601. ``failed`` has a sentence for each thing that is wrong, with the remedy, and
    ``retcode`` is 1 then.

    Raises FleetError when topology or settings cannot be read.
    """
    asking = minions or SaltMinions(master)
    base = revision.base(master)
    topology, chosen = revision.present(master)
    nodes: dict[str, Any] = topology["nodes"]
    rows = Rows(stream or sys.stderr, nodes)
    seen = Nodes(nodes, chosen)
    rows.head()

    def arrived(found: Look, _nodes: list[str]) -> None:
        for node in seen.settled(found):
            rows.show(node, seen.overview(found, node))

    found = looking.look(asking, nodes, chosen, arrived)
    together = Together(asking, nodes, chosen, topology["vip"], found)
    readings = found.readings
    if base is None:
        # Who has none of our modules yet cannot tell the time.
        readings.failed.clear()
    wrong, clock_problems = clocks.problems(asking, nodes, list(found.answers), readings)
    told = {node: seen.overview(found, node) for node in nodes}
    filling = disks.forecast(master)
    for node, entry in told.items():
        for mount, disk in entry["disk"].items():
            disk["full_in_s"] = filling.get(node, {}).get(mount)
    for node, words in [*together.words(), *_clock_words(wrong)]:
        told[node]["state"] = ", ".join(filter(None, (told[node]["state"], words)))
    moving, holder = revision.moving(master), lock.holder(master.state)
    result: dict[str, Any] = {
        "url": edge.url(topology, chosen),
        "topology": topology["name"],
        "release": base.release if base else chosen.get("release"),
        "revision": {**base.note} if base else None,
        "drift": drift.of(master),
        "lock": holder,
        "moving": moving,
        "last": next(iter(journal.history(master.state, 1)), None),
        "vip": together.vip,
        "replica_set": together.replica_set,
        "volume": together.volume,
        "nodes": told,
    }
    failed = [
        f"{node}: {why}; look at `salt-key -L` on the master and at `systemctl status salt-minion` "
        "on the node"
        for node, why in found.failed.items()
    ]
    failed += clock_problems
    failed += _unfinished(moving, holder)
    if not holder or not holder["alive"]:
        failed += unfinished.problems(master)
    if base:
        members = [node for node in base.with_role("db") if node in found.answers]
        kept = backup_health.state(master, asking, chosen, members)
        failed += [*seen.problems(found), *together.problems(), *kept.pop("problems")]
        failed += disks.problems(told)
        failed += certificate.problems(master, chosen)
        result["backup"] = kept
    else:
        result["note"] = revision.BARE
    if failed:
        result.update(retcode=1, failed=failed)
    rows.end(result)
    return result


def _clock_words(wrong: Mapping[str, float]) -> list[tuple[str, str]]:
    return [
        (node, f"clock {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}")
        for node, seconds in wrong.items()
    ]


def _unfinished(moving: Mapping[str, str], holder: Mapping[str, Any] | None) -> list[str]:
    """Return what a change has left that died."""
    if holder and holder["alive"]:
        return []
    remedy = (
        "run the same command again to go on, or `salt-run rollout.rollback` to go back to the "
        "revision before"
    )
    found = []
    if holder:
        found.append(
            f"the change {holder['change']} ({holder['kind']}) of {holder['owner']} died before "
            f"its end: {remedy}"
        )
    if moving:
        ids = ", ".join(sorted(set(moving.values())))
        found.append(
            f"{', '.join(moving)}: between two revisions since the change {ids} was not finished: "
            f"{remedy}"
        )
    return found


class Rows:
    """A row for each node, on a terminal alone: what reads a pipe wants the data and no more."""

    def __init__(self, stream: TextIO, nodes: Mapping[str, Any]) -> None:
        self._stream = stream if stream.isatty() else None
        self._roles = {node: ",".join(entry["roles"]) for node, entry in nodes.items()}
        self._widths = [
            max(len(word) for word in words)
            for words in (
                ["NODE", *nodes],
                ["ROLES", *self._roles.values()],
                ["ADDRESS", *(str(entry["address"]) for entry in nodes.values())],
            )
        ]

    def head(self) -> None:
        """Print what the columns are."""
        self._print("NODE", "ROLES", "ADDRESS", "RELEASE", "SINCE", "STATE")

    def show(self, node: str, facts: Mapping[str, Any]) -> None:
        """Print the row of a node."""
        since = str(facts["since"] or "-")[:16].replace("T", " ")
        state = facts["state"] or ("up" if facts["up"] else "no answer")
        self._print(
            node, self._roles[node], facts["address"], facts["release"] or "-", since, state
        )

    def end(self, result: Mapping[str, Any]) -> None:
        """Print what is to be told of the whole."""
        if self._stream:
            print(*overview.lines(result), sep="\n", file=self._stream, flush=True)

    def _print(self, *cells: str) -> None:
        if self._stream:
            widths = [*self._widths, 10, 16, 0]
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
            print(line.rstrip(), file=self._stream, flush=True)
