"""The web servers: out of rotation, changed, ready for a while, back; a few at a time."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fleet import canary
from fleet.change import StepFailed
from fleet.errors import FleetError, refuse
from fleet.stages import turns
from fleet.work import Work

#: Seconds in which a balancer's checks must call a server up.
_UP = 40.0
#: What HAProxy says of a backend that its configuration does not have.
NO_BACKEND = ("No such backend", "Can't find backend")


def run(work: Work) -> None:
    """Bring every web server that has something to do to the target, by batches."""
    assert work.plan is not None
    views = balancers_views(work)
    servers = [server for view in views.values() for server in view]
    todo = in_order(work.plan.todo(["web"], "web"), views)
    # In maint is what an operator took out on purpose; it stays there.
    left = {each["name"] for each in servers if each["admin"] == "drain" or canary.reduced(each)}
    strayed = [node for node in work.with_role("web") if node in left and node not in todo]
    if todo and not views:
        # No balancer sends anything yet, so all can be made at once.
        work.apply("web", todo, ["web"])
        ready(work, todo)
        return
    known = {server["name"] for server in servers}
    new = [node for node in todo if node not in known]
    todo = [node for node in todo if node in known]
    if new:
        # The balancers hear of them in their own stage; nobody asks them anything before.
        replace(work, new)
    for node in strayed:
        # Nothing to do on it, and yet it gets less: so a rollout that died has left it.
        rejoin(work, node)
    if todo and canary.wanted(work, todo):
        first, *todo = todo
        replace(work, [first], judged=True)
    size = batch(work.limits, len(work.with_role("web")))
    for at in range(0, len(todo), size):
        replace(work, todo[at : at + size])


def back(work: Work, nodes: Sequence[str]) -> list[str]:
    """
    Put web servers back one by one, the one that failed first.

    Each gets its place in the balancers again, whose checks decide on it, also when it could not be
    put back.
    """

    def one(node: str) -> None:
        try:
            replace(work, [node])
        except StepFailed:
            # One that does not run refuses, and gives nobody anything that it could give this one.
            backend = work.settings["lb"]["backend"]
            work.everyone(work.with_role("lb"), "haproxy.ready", backend, node)
            raise

    order = list(reversed(nodes))
    # One that does not tell refuses the first drain, with its name.
    with contextlib.suppress(FleetError):
        order = in_order(order, balancers_views(work))
    return turns.each(order, one)


def in_order(nodes: Sequence[str], views: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Return web servers in the order in which they may be touched."""
    # What some balancer sends nothing comes first, so that it can stand in there for the others.
    missing = {
        server["name"] for view in views.values() for server in view if not server["in_service"]
    }
    return sorted(nodes, key=lambda node: node not in missing)


def batch(limits: dict[str, Any], servers: int) -> int:
    """
    Return how many web servers are replaced at once; 1 where there is no more than that.

    Raises FleetError when the settings leave none that may be replaced, or are no such numbers.
    """
    wanted, least = limits["batch"], limits["min_in_service"]
    if type(least) is not int or least < 0:
        raise FleetError(f"min_in_service must be a whole number from 0 on, not {least!r}")
    if isinstance(wanted, str) and wanted.endswith("%") and wanted[:-1].isdigit():
        size = math.floor(servers * int(wanted[:-1]) / 100)
    elif type(wanted) is int:
        size = wanted
    else:
        size = 0
    if size < 1 and not (isinstance(wanted, str) and wanted.endswith("%") and wanted != "0%"):
        raise FleetError(
            f"batch must be a number from 1 on, or a part such as '25%', not {wanted!r}"
        )
    if servers > 1 and servers <= least:
        raise FleetError(
            f"min_in_service is {least} and there are {servers} web servers: none may be taken out "
            "of rotation, so none can be replaced"
        )
    return max(1, min(size, servers - least))


def replace(work: Work, nodes: Sequence[str], judged: bool = False) -> None:
    """
    Bring web servers to the target while the others serve.

    judged
        Whether they are watched as a canary before they get all their requests.
    """
    with work.within(work.limits["deadline"]):
        for node in nodes:
            drain(work, node)
        work.apply("web", nodes, ["web"])
        ready(work, nodes)
        if judged:
            for node in nodes:
                canary.judge(work, node)
        for node in nodes:
            rejoin(work, node)


def balancers_views(
    work: Work, balancers: Sequence[str] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """
    Return the servers as each balancer sees them that has the backend and so sends traffic.

    balancers
        Those that are asked; all by default.

    Raises FleetError naming each balancer that may send traffic and does not tell: its minion is
    silent, or its HAProxy runs and cannot be asked.
    """
    backend = work.settings["lb"]["backend"]
    asked = work.with_role("lb") if balancers is None else balancers
    found = work.everyone(asked, "haproxy.servers", backend)
    views = {node: servers for node, servers in found.answers.items() if isinstance(servers, list)}
    # One that came with the package has not been told of any backend yet.
    unclear = [
        node for node, why in found.failed.items() if not any(words in why for words in NO_BACKEND)
    ]
    if unclear:
        runs = work.ask(unclear, "service.status", "haproxy")
        refuse(
            f"{node}: its HAProxy runs, and does not tell which servers it sends requests to: "
            f"{found.failed[node]}"
            for node in unclear
            if runs[node] is True
        )
    return views


def drain(work: Work, node: str) -> None:
    """
    Take a web server out of rotation in every balancer and wait until its last session has ended.

    Refused, and undone, when fewer than ``min_in_service`` would stay in a balancer.
    """
    with work.step("web", "draining it in every balancer", node) as step:
        web, backend = work.settings["web"], work.settings["lb"]["backend"]
        balancers = _knowing(work, node)
        kwarg = {
            "timeout": work.left(web["drain_timeout"]),
            "lease": web["drain_lease"],
            "min_in_service": work.limits["min_in_service"],
        }
        work.touch("web", [node])
        found = work.minions.everyone(
            balancers, "haproxy.drain", [backend, node], kwarg, kwarg["timeout"]
        )
        if found.failed:
            done = [each for each in balancers if each not in found.failed]
            work.everyone(done, "haproxy.ready", backend, node)
            raise FleetError(*found.problems())
        step.did = f"drained in {', '.join(balancers) or 'no balancer, as none knows it'}"


def _knowing(work: Work, node: str) -> list[str]:
    """Return the balancers that send traffic and have a web server among those that may get it."""
    return [
        balancer
        for balancer, servers in balancers_views(work).items()
        if any(server["name"] == node for server in servers)
    ]


def ready(work: Work, nodes: Sequence[str]) -> None:
    """Wait until web servers are ready with the target's release, and stay so for a while."""
    release = work.target.release
    with work.step("web", f"waiting until ready with release {release}", ", ".join(nodes)) as step:
        web, hold = work.settings["web"], work.limits["min_healthy_time"]
        found = work.wait(
            nodes,
            "counterapp.wait_ready",
            timeout=web["ready_timeout"],
            extra=hold,
            release=release,
            hold=hold,
        )
        step.did = {node: f"ready after {seen['waited']} s" for node, seen in found.items()}


def rejoin(work: Work, node: str) -> None:
    """Put a web server back into rotation in every balancer, and wait until each calls it up."""
    with work.step("web", "putting it back into rotation", node) as step:
        backend = work.settings["lb"]["backend"]
        balancers = _knowing(work, node)
        work.ask(balancers, "haproxy.ready", backend, node)
        canary.restore(work, node)
        work.wait(_seeing(work, balancers), "haproxy.wait_up", backend, node, timeout=_UP)
        step.did = f"in rotation in {', '.join(balancers) or 'no balancer, as none knows it'}"


def _seeing(work: Work, balancers: Sequence[str]) -> list[str]:
    """
    Return the balancers that call any web server up; all, when none does.

    One that sees nobody while another one does was altered badly and sends nobody anything: it is
    mended in its own stage, which must not wait for it here.
    """
    views = balancers_views(work, balancers)
    seeing = [node for node, view in views.items() if any(each["up"] for each in view)]
    return seeing or list(balancers)
