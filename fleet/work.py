"""Taking nodes to a revision: what every step of every stage goes by, on the way there and back."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleet import minions as asking
from fleet import revision as revisions
from fleet.change import PROGRESS, Change, Step
from fleet.errors import FleetError, refuse
from fleet.minions import Answers, Minions
from fleet.plan import Plan
from fleet.revision import CANDIDATE, Revision
from fleet.waiting import until

#: What a revision of an older version of this tree may not have.
_DEFAULTS: dict[str, Any] = {
    "batch": 1,
    "min_in_service": 1,
    "min_healthy_time": 3,
    "deadline": 600,
    "total_deadline": None,
    "data_timeout": 86400,
    "revisions_kept": 5,
}


def limits(revision: Revision) -> dict[str, Any]:
    """Return the settings of ``rollout`` of a revision."""
    return {**_DEFAULTS, **revision.settings.get("rollout", {})}


@dataclass
class Work:
    """
    A way that a change takes nodes: to its candidate, or back to ``base``.

    target
        The revision that nodes are taken to.
    environment
        The environment that it is served as: ``candidate`` on the way there, ``base`` on the way
        back.
    plan
        What is to be done on the way there; None on the way back, which goes by what was touched.
    limits
        ``batch``, ``min_in_service``, ``min_healthy_time``, ``deadline`` (of a node) and the other
        settings of ``rollout`` in the pillar, with what the command was told on top.
    """

    change: Change
    minions: Minions
    target: Revision
    environment: str
    plan: Plan | None
    limits: dict[str, Any]
    #: When the change must be done, on the monotonic clock; None is never.
    end: float | None = None
    _ends: list[float] = field(default_factory=list)

    @property
    def forward(self) -> bool:
        return self.environment == CANDIDATE

    @property
    def settings(self) -> dict[str, Any]:
        """The pillar of the target, as the master's own minion has it."""
        return self.target.settings

    @property
    def nodes(self) -> dict[str, Any]:
        """The nodes of the target's topology, by ID."""
        nodes: dict[str, Any] = self.target.topology["nodes"]
        return nodes

    def with_role(self, role: str) -> list[str]:
        """Return the IDs of the nodes with a role, in the topology's order."""
        return self.target.with_role(role)

    def step(
        self, stage: str, text: str, node: str | None = None
    ) -> contextlib.AbstractContextManager[Step]:
        """Do one thing; see :meth:`fleet.change.Change.step`."""
        return self.change.step(stage, text, node)

    # Asking

    def ask(
        self,
        nodes: Sequence[str],
        function: str | Sequence[str],
        *arg: Any,
        timeout: float = 15,
        **kwarg: Any,
    ) -> dict[str, Any]:
        """Return the answers of all these nodes; raise FleetError naming who failed and why."""
        return asking.ask(self.minions, nodes, function, arg, kwarg, timeout)

    def everyone(
        self,
        nodes: Sequence[str],
        function: str | Sequence[str],
        *arg: Any,
        timeout: float = 15,
        **kwarg: Any,
    ) -> Answers:
        """Return the answers of those who answer, and why others did not."""
        return self.minions.everyone(nodes, function, arg, kwarg, timeout)

    def wait(
        self,
        nodes: Sequence[str],
        function: str,
        *arg: Any,
        timeout: float,
        extra: float = 0,
        **kwarg: Any,
    ) -> dict[str, Any]:
        """
        Return the answers to a function that waits on the node, for as long as it is told.

        timeout
            Seconds, within the deadlines; the function gets them as its own ``timeout``.
        extra
            Seconds that it may take beyond that.

        Raises FleetError with a sentence for each node that failed.
        """
        patience = self.left(timeout)
        kwarg = {"timeout": patience, **kwarg}
        found = self.minions.everyone(nodes, function, arg, kwarg, patience + extra)
        refuse(found.problems())
        return found.answers

    # Time

    @contextlib.contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """Have what is waited for in this block be over after so many seconds at the latest."""
        self._ends.append(time.monotonic() + seconds if seconds else float("inf"))
        try:
            yield
        finally:
            self._ends.pop()

    def left(self, timeout: float) -> float:
        """
        Return how long may be waited: the timeout, or what the deadlines leave of it.

        Raises FleetError when a deadline is over.
        """
        ends = [*self._ends, *([self.end] if self.end is not None else [])]
        remains = min((end - time.monotonic() for end in ends), default=float("inf"))
        if remains <= 0:
            raise FleetError(
                "the deadline is over (rollout:deadline of a node or rollout:total_deadline of the "
                "whole, in pillar/rollout.sls or as an argument)"
            )
        return min(timeout, remains)

    def until(
        self, look: Callable[[], tuple[bool, str]], timeout: float, what: str, step: Step
    ) -> str:
        """Look until it is so, within the deadlines, and tell what is seen; returns that."""
        end = time.monotonic() + self.left(timeout)
        return until(
            look,
            end - time.monotonic(),
            what,
            lambda seen: step.waits(seen, max(end - time.monotonic(), 0.0)),
        )

    # Acting

    def touch(self, stage: str, nodes: Sequence[str]) -> None:
        """Note, before it is so, that nodes are not as they were any more."""
        if not self.forward:
            return
        touched = self.change.facts.get("touched", {})
        before = touched.get(stage, [])
        new = [node for node in nodes if node not in before]
        if new:
            self.change.note(touched={**touched, stage: [*before, *new]})

    def apply(
        self,
        stage: str,
        nodes: Sequence[str],
        sls: Sequence[str],
        pillar: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Apply SLS of the target on nodes, at once, as a step.

        Raises StepFailed unless every state of every node succeeded.
        """
        names = ", ".join(nodes)
        with self.step(stage, f"applying {', '.join(sls)}", names) as step:
            self.left(0.0)
            self.touch(stage, nodes)
            if self.forward:
                revisions.move(self.change.master, nodes, self.change.id)
            given = {**PROGRESS, **(pillar or {})}
            reports = asking.apply(self.minions, nodes, self.environment, sls, given)
            bad = [f"{node}: {each.why()}" for node, each in reports.items() if not each.good]
            self._count(reports)
            if bad:
                raise FleetError(*bad)
            # What modules know of the pillar is what their minion has in memory.
            self.ask(nodes, "saltutil.refresh_pillar", wait=True, timeout=30)
            step.did = {
                node: {"states": each.states, "changed": [state["id"] for state in each.changed]}
                for node, each in reports.items()
            }

    def _count(self, reports: Mapping[str, asking.Report]) -> None:
        changes = dict(self.change.facts.get("changes", {}))
        for node, report in reports.items():
            if report.changed:
                changes[node] = changes.get(node, 0) + len(report.changed)
        if changes != self.change.facts.get("changes", {}):
            self.change.note(changes=changes)
