"""What nothing that runs depends on yet, on all nodes at once: most of what a bare fleet takes."""

from collections.abc import Sequence

from fleet.change import StepFailed
from fleet.work import Work

_SLS = ("base", "gluster.install", "storage.install", "storage.service")


def run(work: Work) -> None:
    """Give every node names and packages, and a node where nothing runs what its role installs."""
    assert work.plan is not None
    fresh = [node for node, entry in work.plan.nodes.items() if entry.fresh]
    wanted = {*work.plan.todo(_SLS), *fresh}
    todo = [node for node in work.nodes if node in wanted]
    if todo:
        work.apply("prepare", todo, ["prepare"], {"fresh": fresh})


def back(work: Work, nodes: Sequence[str]) -> list[str]:
    """Put nodes back, at once."""
    try:
        work.apply("prepare", nodes, ["prepare"], {"fresh": []})
    except StepFailed as error:
        return error.problems
    return []
