"""What nothing that runs depends on yet, on all nodes at once: most of what a bare fleet takes."""

from collections.abc import Sequence

from fleet.change import StepFailed
from fleet.plan import Plan
from fleet.work import Work

#: What of a node's states is applied here.
SLS = ("base", "gluster.install", "storage.install", "storage.service")


def run(work: Work) -> None:
    """Give every node names and packages, and a node where nothing runs what its role installs."""
    assert work.plan is not None
    fresh = [node for node, entry in work.plan.nodes.items() if entry.fresh]
    if nodes := todo(work.plan):
        work.apply("prepare", nodes, ["prepare"], {"fresh": fresh})


def todo(plan: Plan) -> list[str]:
    """Return the nodes that have something to do in this stage."""
    wanted = plan.todo(SLS)
    return [node for node, entry in plan.nodes.items() if entry.fresh or node in wanted]


def back(work: Work, nodes: Sequence[str]) -> list[str]:
    """Put nodes back, at once."""
    try:
        work.apply("prepare", nodes, ["prepare"], {"fresh": []})
    except StepFailed as error:
        return error.problems
    return []
