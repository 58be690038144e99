"""
Nodes that leave the fleet: those that the topology lists under ``leaving``.

They are no members, servers or peers to the target any more, and nothing is applied to them. A
rollout first takes them out of use (:func:`withdraw`, before the balancers are told), then out of
replica set, pool and service (:func:`run`), and when it has succeeded removes their keys
(:func:`finish`). One whose machine is gone leaves as well: nothing is asked of it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from salt.exceptions import CommandExecutionError

from fleet import enroll, handover, keys
from fleet import revision as revisions
from fleet.change import StepFailed
from fleet.errors import FleetError
from fleet.master import Master
from fleet.revision import Revision
from fleet.stages import web
from fleet.utils import gluster_layout
from fleet.work import Work

#: What runs on a node for its role, in the order in which it is stopped.
UNITS = {
    "lb": ("vip-guard", "keepalived", "haproxy"),
    "web": ("counterapp",),
    "db": ("mongod",),
    "storage": ("glusterd",),
}
#: An address, or another word, in a sentence about a brick.
_WORD = re.compile(r"[\w.-]+")
_HEALTHY = 120.0
#: Seconds in which a daemon stops.
_STOPS = 90.0


# Who leaves, and whether that may be


def has_left(master: Master, node: str) -> bool:
    """Return whether a node has left by an earlier rollout, and only stands in the topology yet."""
    base = revisions.base(master)
    return bool(base and node in base.topology["leaving"] and keys.accepted(master, node) is None)


def going(revision: Revision) -> dict[str, Any]:
    """Return the nodes that leave by a revision and have not left yet, by ID."""
    leaving: dict[str, Any] = revision.topology["leaving"]
    return {node: entry for node, entry in leaving.items() if not has_left(revision.master, node)}


def problems(revision: Revision, named: Sequence[str]) -> list[str]:
    """
    Return a sentence for each reason why nodes cannot leave by a revision; nobody is asked.

    named
        The nodes that the command named as leaving: what ends a node is said in both places.
    """
    if isinstance(named, str) or not all(isinstance(node, str) for node in named):
        return [
            'leaving is a list of node IDs, as in pillar=\'{"leaving": ["web-2"]}\', not '
            f"{named!r}"
        ]
    found = []
    leaving = revision.topology["leaving"]
    name = revision.topology["name"]
    for node in named:
        if node not in leaving:
            found.append(
                f"{node} was named as leaving, but topology '{name}' does not list it: add "
                f"`leaving: [{node}]` to it in pillar/topology.sls, and keep it under `nodes`"
            )
    leaves = going(revision)
    for node in leaves:
        if node not in named:
            found.append(
                f"{node} is to leave by pillar/topology.sls: its services are stopped for good and "
                "its key is removed. If so, name it as well: "
                f'pillar=\'{{"leaving": ["{node}"]}}\'; else take it out of `leaving`'
            )
    before = revisions.base(revision.master)
    if before is None:
        if leaves:
            found.append(
                "nothing has been rolled out yet, so no node can leave: take "
                f"{', '.join(leaves)} out of pillar/topology.sls"
            )
        return found
    known = {**revision.topology["nodes"], **leaving}
    for node in [*before.topology["nodes"], *before.topology["leaving"]]:
        if node not in known and not has_left(revision.master, node):
            found.append(
                f"{node} is part of the fleet and not in the topology that is to be rolled out: a "
                "node goes by leaving. Put it back under `nodes` and add it to `leaving` in "
                "pillar/topology.sls"
            )
    if any("storage" in entry["roles"] for entry in leaves.values()):
        found += _no_way(before, revision)
    return found


def check(work: Work) -> list[str]:
    """
    Return a sentence for each reason why nodes cannot leave by this rollout, for its preflight.

    The nodes that stay must be able to do without those that go, also if some of them enter by this
    very rollout; and a machine that is up must have a minion that answers.
    """
    found = problems(work.target, work.limits.get("leaving") or [])
    leaves = going(work.target)
    if found or not leaves:
        return found
    alive = _alive(work, leaves)
    for node, entry in leaves.items():
        if node not in alive and keys.machine_answers(entry["address"]):
            found.append(
                f"{node}: its minion does not answer, but its machine does ({entry['address']}), "
                "and what runs on it would go on: start its minion, or switch the machine off"
            )
    views = web.balancers_views(work)
    if _of_role(leaves, "lb") and not views:
        found.append(
            f"{', '.join(_of_role(leaves, 'lb'))} cannot leave: no balancer that stays serves yet; "
            "let it enter by a rollout of its own first"
        )
    if webs := _of_role(leaves, "web"):
        least = work.limits["min_in_service"]
        for balancer, servers in views.items():
            staying = [
                each["name"] for each in servers if each["in_service"] and each["name"] not in webs
            ]
            if len(staying) < max(1, least):
                found.append(
                    f"{', '.join(webs)} cannot leave: of the web servers that stay, {balancer} has "
                    f"{', '.join(staying) or 'none'} in rotation and min_in_service is {least}; "
                    "let others enter by a rollout of its own first"
                )
    return found


def excused(work: Work, reasons: Sequence[str]) -> list[str]:
    """
    Return those of the reasons why a volume is not healthy that do not come from nodes that leave.

    A brick that is gone with its machine is replaced by the rollout; what the others keep for it
    waits to be healed until then.
    """
    addresses = [entry["address"] for entry in going(work.target).values()]
    ours = [why for why in reasons if any(address in _WORD.findall(why) for address in addresses)]
    if not ours:
        return list(reasons)
    return [why for why in reasons if why not in ours and "wait to be healed" not in why]


def _no_way(before: Revision, after: Revision) -> list[str]:
    """Return why the volume cannot be brought from one topology's bricks to the other's."""
    try:
        gluster_layout.steps(_layout(before), _declared(after), remove=True)
    except CommandExecutionError as error:
        return [
            f"{', '.join(_of_role(after.topology['leaving'], 'storage'))} cannot leave: {error}. "
            "Have one storage node leave at a time, in whose place another holds the copy, or "
            "whole sets of copies"
        ]
    return []


def _layout(revision: Revision) -> dict[str, Any]:
    """Return the layout of a revision's volume, with nodes for bricks; as salt/storage has it."""
    declared = _declared(revision)
    size, arbiter = declared["replica"], declared["arbiter"]
    bricks = [
        {"name": node, "arbiter": bool(arbiter) and at % size == size - 1}
        for at, node in enumerate(declared["bricks"])
    ]
    return {**declared, "name": revision.settings["gluster"]["volume"], "bricks": bricks}


def _declared(revision: Revision) -> dict[str, Any]:
    settings = revision.settings["gluster"]
    keepers, size = revision.with_role("storage"), settings["replica"]
    return {
        "bricks": keepers[: len(keepers) // size * size],
        "replica": size,
        "arbiter": 1 if settings.get("arbiter") else 0,
        "disperse": 0,
        "redundancy": 0,
    }


# The way out


def withdraw(work: Work) -> None:
    """
    Take nodes that leave out of use, before the balancers that stay forget them.

    A balancer that the others do not know any more would take the VIP beside them; a web server
    is drained first.
    """
    leaves = going(work.target)
    alive = _alive(work, leaves)
    for node in _of_role(leaves, "lb", alive):
        _hand_over(work, node)
    for node in _of_role(leaves, "web", alive):
        _drain(work, node)


def run(work: Work) -> None:
    """
    Take nodes that leave out of service, replica set and pool, and stop what runs on them.

    The balancers and members that stay have been brought to the target before. Members leave one
    at a time, those that are gone already first: the set keeps its majority.
    """
    leaves = going(work.target)
    alive = _alive(work, leaves)
    for role in ("lb", "web"):
        for node in _of_role(leaves, role, alive):
            _stop(work, role, node, UNITS[role])
    for node in sorted(_of_role(leaves, "db"), key=lambda node: node in alive):
        _leave_set(work, node, leaves[node]["address"], node in alive)
    # A mount would hang once its node is no peer.
    for node in leaves:
        if node in alive:
            _unmount(work, node)
    for node in _of_role(leaves, "storage"):
        _leave_pool(work, node, leaves[node]["address"], node in alive)


def turn_away(work: Work, entered: Mapping[str, Any]) -> list[str]:
    """
    Take nodes out again that entered by a rollout which is undone, before the others are put back.

    work
        The way back, to a revision that does not have them.
    entered
        What the candidate's topology says of them, by ID.

    Returns a sentence for each thing that could not be done. They keep their keys; a later rollout
    finds them as they are.
    """
    alive = _alive(work, entered)
    steps: list[Callable[[], None]] = []
    for node in _of_role(entered, "lb", alive):
        steps.append(partial(_retire, _hand_over, work, "lb", node))
    for node in _of_role(entered, "web", alive):
        steps.append(partial(_retire, _drain, work, "web", node))
    for node in _of_role(entered, "db"):
        address = entered[node]["address"]
        steps.append(partial(_leave_set, work, node, address, node in alive))
    for node in _of_role(entered, "storage"):
        address = entered[node]["address"]
        steps.append(partial(_leave_pool, work, node, address, node in alive))
    found: list[str] = []
    for step in steps:
        try:
            step()
        except FleetError as error:
            found += error.problems
    return found


def finish(work: Work) -> list[str]:
    """
    Remove keys and noted fingerprints of the nodes that have left, once the rollout has succeeded.

    Without them no key is accepted for their IDs. A minion that is still there is stopped.

    Returns a sentence for each node whose key could not be removed: nothing is undone for that,
    and the next rollout that names the node tries again.
    """
    master = work.change.master
    found: list[str] = []
    for node in work.target.topology["leaving"]:
        if keys.accepted(master, node) is None and enroll.expected(master, node) is None:
            continue
        try:
            with work.step("leaving", "removing its key", node) as step:
                if _alive(work, [node]):
                    work.ask([node], "service.disable", "salt-minion")
                    # It may end before it has answered.
                    work.minions.everyone(
                        [node], "service.stop", ["salt-minion"], {"no_block": True}, 5, 5
                    )
                keys.forget(master, node)
                revisions.arrived(master, node)
                step.did = "no key is accepted for it any more"
        except StepFailed as error:
            found += error.problems
    return found


def _alive(work: Work, nodes: Mapping[str, Any] | Sequence[str]) -> list[str]:
    if not nodes:
        return []
    return list(work.minions.everyone(list(nodes), "test.ping", (), None, 10, 5).answers)


def _of_role(nodes: Mapping[str, Any], role: str, alive: Sequence[str] | None = None) -> list[str]:
    return [
        node
        for node, entry in nodes.items()
        if role in entry["roles"] and (alive is None or node in alive)
    ]


def _touch(work: Work, stage: str, node: str) -> None:
    """Note that a node is not as it was; a rollout that fails puts it back by this stage."""
    work.touch(stage, [node])
    if work.forward:
        # It does not converge to where it came from by itself meanwhile.
        revisions.move(work.change.master, [node], work.change.id)


def _retire(withdraw: Callable[[Work, str], None], work: Work, role: str, node: str) -> None:
    """Stop what runs on a node for a role, once it is out of use."""
    withdraw(work, node)
    _stop(work, role, node, UNITS[role])


def _hand_over(work: Work, node: str) -> None:
    with work.step("lb", "handing over the VIP for good", node) as step:
        _touch(work, "lb", node)
        step.did = handover.hand_over(work, node, step)
        if work.ask([node], "service.status", "keepalived")[node] is True:
            work.ask([node], "service.stop", "keepalived", timeout=_STOPS)


def _drain(work: Work, node: str) -> None:
    views = web.balancers_views(work)
    if any(server["name"] == node for servers in views.values() for server in servers):
        _touch(work, "web", node)
        web.drain(work, node)


def _stop(work: Work, stage: str, node: str, units: Sequence[str]) -> None:
    with work.step(stage, f"stopping {' and '.join(units)} for good", node) as step:
        _touch(work, stage, node)
        there = [
            unit for unit in units if work.ask([node], "service.available", unit)[node] is True
        ]
        for unit in there:
            for function in ("service.disable", "service.stop"):
                if work.ask([node], function, unit, timeout=_STOPS)[node] is not True:
                    raise FleetError(f"{node}: {function} {unit} did not succeed; see its journal")
        step.did = f"stopped {' and '.join(there) or 'nothing, as nothing is installed'}"


def _leave_set(work: Work, node: str, address: str, alive: bool) -> None:
    members = work.with_role("db")
    port = work.settings["mongodb"]["port"]
    own = f"{address}:{port}"
    staying = [f"{work.nodes[each]['address']}:{port}" for each in members]
    with work.step("db", "taking it out of the replica set", node) as step:
        witness = members[0]

        def look() -> tuple[bool, str]:
            seen = work.ask([witness], "mongodb.healthy", members=staying)[witness]
            return seen["healthy"], "; ".join(seen["reasons"]) or "healthy"

        work.until(look, _HEALTHY, "the members that stay are a healthy majority", step)
        there = work.ask([witness], "mongodb.status")[witness]["members"]
        if own not in [member["name"] for member in there]:
            step.did = "it is no member any more"
        else:
            if alive:
                _touch(work, "db", node)
                if work.ask([node], "mongodb.is_primary")[node]:
                    work.ask([node], "mongodb.step_down", timeout=_STOPS)
            left = work.ask([witness], "mongodb.remove_member", own, confirm=own, timeout=60)
            work.until(look, _HEALTHY, "the members that stay are a healthy majority", step)
            step.did = f"members are {', '.join(left[witness])}"
    if alive:
        _stop(work, "db", node, UNITS["db"])


def _unmount(work: Work, node: str) -> None:
    mount = work.settings["gluster"]["mount"]
    # It would mount again what is lost.
    _stop(work, "prepare", node, ["counterapp-watch"])
    with work.step("storage", f"unmounting {mount} for good", node):
        _touch(work, "storage", node)
        if work.ask([node], "gluster.mount_status", mount)[node]["mounted"]:
            work.ask([node], "gluster.unmount", mount, timeout=60)
        work.ask([node], "gluster.remove_mount_units", mount, timeout=60)


def _leave_pool(work: Work, node: str, address: str, alive: bool) -> None:
    keeper, volume = work.with_role("storage")[0], work.settings["gluster"]["volume"]
    with work.step("storage", "taking it out of the pool", node) as step:
        bricks = work.ask([keeper], "gluster.info", volume)[keeper]["bricks"]
        left = [each["name"] for each in bricks if each["host"] == address]
        if left:
            raise FleetError(
                f"{node} holds {', '.join(left)} of the volume {volume} yet: `salt {keeper} "
                "state.apply storage` says why the brick has not moved"
            )
        if work.ask([keeper], "gluster.is_member", address)[keeper]:
            if alive:
                _touch(work, "storage", node)
            kwarg = {"confirm": address, "force": not alive}
            work.ask([keeper], "gluster.detach", address, timeout=60, **kwarg)
        step.did = "the pool does not know it any more"
    if alive:
        _stop(work, "storage", node, UNITS["storage"])
