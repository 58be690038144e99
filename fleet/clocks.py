"""Holding the clocks of the nodes against the master's."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet.minions import Answers, Minions

#: Seconds by which a node's clock may differ from the master's.
TOLERANCE = 2
#: What tells the time of a node.
FUNCTION = "counterapp.clock"


@dataclass
class Readings:
    """
    What is known of clocks.

    A node reads its clock at some time between the question and the last answer, so its deviation
    is known within bounds, and by each further reading within closer ones.
    """

    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, asked: float, heard: float, found: Answers) -> None:
        """Add what nodes have answered between these two times of the master."""
        self.failed.update(found.failed)
        for node, clock in found.answers.items():
            if isinstance(clock, int | float) and math.isfinite(clock):
                least, most = self.bounds.get(node, (-math.inf, math.inf))
                self.bounds[node] = max(least, clock - heard), min(most, clock - asked)
            else:
                self.failed[node] = f"{clock!r} is no time"

    def unsettled(self, tolerance: float) -> list[str]:
        """Return the nodes of which it is open whether their clock is wrong."""
        return [
            node
            for node, (least, most) in self.bounds.items()
            if not (
                most < -tolerance or -tolerance <= least <= most <= tolerance or tolerance < least
            )
        ]

    def wrong(self, tolerance: float) -> dict[str, float]:
        """Return by how many seconds clocks that are surely wrong are ahead, or behind (< 0)."""
        return {
            node: (least + most) / 2
            for node, (least, most) in self.bounds.items()
            if least > tolerance or most < -tolerance
        }


@dataclass
class Deviations:
    """
    The clocks that are wrong.

    ``wrong`` has by how many seconds a clock is ahead of the master's or behind it (< 0), as the
    middle of the bounds, by node; ``failed`` who did not tell, and why.
    """

    wrong: dict[str, float]
    failed: dict[str, str]


def clocks(
    minions: Minions,
    nodes: Iterable[str],
    tolerance: float = TOLERANCE,
    readings: Readings | None = None,
) -> Deviations:
    """
    Hold the clocks of nodes against the master's, and tell which are surely wrong.

    Where the answers leave open whether a clock is wrong, the node is asked again, by itself and
    up to two times.

    tolerance
        Seconds by which a clock may be off.
    readings
        What is known already; the nodes are asked only where it leaves something open.
    """
    known = readings or Readings()
    todo = known.unsettled(tolerance) if readings else list(nodes)
    for _ in range(2 if readings else 3):
        if not todo:
            break
        asked = time.time()
        found = minions.everyone(todo, FUNCTION)
        known.add(asked, time.time(), found)
        todo = known.unsettled(tolerance)
    return Deviations(known.wrong(tolerance), known.failed)


def problems(
    minions: Minions,
    nodes: Mapping[str, Any],
    asked: Iterable[str],
    readings: Readings | None = None,
) -> tuple[dict[str, float], list[str]]:
    """
    Hold the clocks of nodes against each other.

    nodes
        The nodes of the topology, by ID.
    asked
        Those whose clocks are looked at.
    readings
        As for :func:`clocks`.

    Returns by how many seconds each wrong one is ahead or behind (< 0), by node; and a sentence
    about each that is wrong or was not told.
    """
    asked = list(asked)
    found = clocks(minions, asked, TOLERANCE, readings)
    wrong, measure = found.wrong, "the master's"
    [master] = [node for node, entry in nodes.items() if "master" in entry["roles"]]
    others = [node for node in asked if node != master]
    deviations = sorted(wrong.values())
    # They were held against the master's. It is the one that is wrong where all others agree.
    if (
        len(others) > 1
        and wrong.keys() == set(others)
        and deviations[-1] - deviations[0] <= 2 * TOLERANCE
    ):
        wrong = {master: -deviations[len(deviations) // 2]}
        measure = "all others"
    sentences = [
        f"{node}: its clock is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} "
        f"{measure}, more than {TOLERANCE} s: run `salt {node} state.apply base`, which has "
        "chrony run there, and `chronyc makestep` on the node; a container has its host's clock"
        for node, seconds in wrong.items()
    ]
    sentences += [f"{node}: its clock is not known: {why}" for node, why in found.failed.items()]
    return wrong, sentences
