"""What a revision would change on each node, found out without touching anything."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from fleet.errors import refuse
from fleet.minions import Minions, Report, apply
from fleet.revision import Revision

#: A node is fresh in a role when both are pending: then nothing of the role runs there yet.
_FRESH = {
    "db": {"db.install", "db.service"},
    "web": {"web.install", "web.config"},
    "lb": {"lb.install", "lb.haproxy"},
}


@dataclass
class NodePlan:
    """
    What would change on a node.

    ``pending`` has the states by SLS in their order, those that fail last, each as
    :class:`fleet.minions.Report` has them and with ``fails``: whether it already fails in a dry
    run. ``fresh`` is whether nothing of one of its roles runs there yet.
    """

    roles: list[str]
    pending: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    fresh: bool = False


@dataclass
class Plan:
    """What taking the fleet to a revision would change, by node in the topology's order."""

    nodes: dict[str, NodePlan]

    def todo(self, prefixes: Iterable[str], role: str | None = None) -> list[str]:
        """Return the nodes that have something to do in an SLS of these names."""
        wanted = tuple(prefixes)
        return [
            node
            for node, entry in self.nodes.items()
            if (role is None or role in entry.roles)
            and any(
                sls == prefix or sls.startswith(f"{prefix}.")
                for sls in entry.pending
                for prefix in wanted
            )
        ]

    @property
    def changes(self) -> int:
        """How many states would change something, on all nodes together."""
        return sum(len(states) for node in self.nodes.values() for states in node.pending.values())


def make(
    minions: Minions,
    revision: Revision,
    environment: str,
    reached: Collection[str] | None = None,
) -> Plan:
    """
    Find out what a revision would change, by applying it with ``test`` on every node.

    environment
        The environment that the revision is served as.
    reached
        The nodes that are known to answer; by default all are asked.

    Raises FleetError with a sentence for each node on which it cannot be rendered.
    """
    every = revision.topology["nodes"]
    nodes = {node: every[node] for node in every if reached is None or node in reached}
    reports = apply(minions, nodes, environment, test=True, timeout=20)
    refuse(f"{node}: {report.error}" for node, report in reports.items() if report.error)
    return Plan({node: _of_node(nodes[node]["roles"], reports[node]) for node in nodes})


def _of_node(roles: list[str], report: Report) -> NodePlan:
    made = NodePlan(list(roles))
    # A state that fails in a dry run wants something that an earlier one would have made.
    for fails, states in ((False, report.changed), (True, report.failed)):
        for each in states:
            made.pending.setdefault(each["sls"], []).append({**each, "fails": fails})
    made.fresh = any(_FRESH[role] <= made.pending.keys() for role in roles if role in _FRESH)
    return made
