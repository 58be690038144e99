"""The balancers: one at a time, the holder of the VIP last and after it has handed that over."""

from collections.abc import Sequence

from fleet import handover
from fleet.errors import FleetError
from fleet.stages import leaving, turns
from fleet.stages.web import NO_BACKEND, balancers_views
from fleet.work import Work

_UP = 40.0
_HELD = 20.0


def run(work: Work) -> None:
    """Bring every balancer that has something to do to the target."""
    assert work.plan is not None
    leaving.withdraw(work)
    holders = handover.holders(work)
    nodes = work.plan.nodes
    # A new one takes the VIP as well unless the holder tells it that it has that: so the holder
    # has heard of it before.
    todo = sorted(
        work.plan.todo(["lb"], "lb"), key=lambda node: (nodes[node].fresh, node in holders)
    )
    if todo and not balancers_views(work):
        # None sends anything yet, so nobody is hurt.
        work.apply("lb", todo, ["lb"])
    else:
        # One that has nothing to do may have it from a rollout that died before it was seen to
        # serve; the VIP would go to it next.
        for node in work.with_role("lb") if todo else ():
            if node not in todo:
                ready(work, node)
        for node in todo:
            replace(work, node)
    held(work)


def back(work: Work, nodes: Sequence[str]) -> list[str]:
    """Put balancers back one by one, the one that failed first."""
    problems = turns.each(reversed(nodes), lambda node: replace(work, node))
    return problems + turns.each([""], lambda _: held(work))


def replace(work: Work, node: str) -> None:
    """Bring one balancer to the target while another one has the VIP."""
    with work.within(work.limits["deadline"]):
        with work.step("lb", "handing over the VIP", node) as step:
            work.touch("lb", [node])
            step.did = handover.hand_over(work, node, step)
        work.apply("lb", [node], ["lb"])
        ready(work, node)


def ready(work: Work, node: str) -> None:
    """Wait until a balancer calls every web server up."""
    with work.step("lb", "waiting until it sees the web servers", node) as step:
        backend = work.settings["lb"]["backend"]
        # What it makes of a server goes by this check, of which it thinks well until it was made. A
        # revision from before has it in the backend itself.
        checks = f"{backend}-ready"
        found = work.everyone([node], "haproxy.servers", checks)
        if not all(any(words in why for words in NO_BACKEND) for why in found.failed.values()):
            raise FleetError(*found.problems())
        for each in [checks, backend] if node in found.answers else [backend]:
            for web in work.with_role("web"):
                work.wait([node], "haproxy.wait_up", each, web, timeout=_UP)
        step.did = f"{', '.join(work.with_role('web'))} up"


def held(work: Work) -> None:
    """Wait until exactly one balancer holds the VIP."""
    vip = work.target.topology["vip"]
    with work.step("lb", "waiting for the VIP") as step:

        def look() -> tuple[bool, str]:
            holders = handover.holders(work)
            return len(holders) == 1, f"held by {' and '.join(holders) or 'nobody'}"

        step.did = work.until(look, _HELD, f"one balancer holds {vip}", step)
