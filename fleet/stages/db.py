"""The replica set: one member at a time, the primary last and only after it has stepped down."""

from collections.abc import Iterable, Sequence
from typing import Any

from fleet.errors import FleetError
from fleet.minions import Minions, ask
from fleet.stages import turns
from fleet.work import Work

_BACK = 120.0


def run(work: Work) -> None:
    """Bring every member that has something to do to the target."""
    assert work.plan is not None
    members = work.with_role("db")
    found = replica_set(work.minions, members)
    if not found["begun"]:
        begin(work, members)
    else:
        todo = in_order(work.plan.todo(["db"], "db"), found["states"])
        there = {
            member["name"] for state in found["states"].values() for member in state["members"]
        }
        new = [node for node in todo if _address(work, node) not in there]
        if new:
            # Whoever takes one into the set wants all that are declared to be there.
            work.apply("db", new, ["db.service"])
        for node in todo:
            if node in new:
                enter(work, node)
            else:
                replace(work, node)
    healthy(work)


def back(work: Work, nodes: Sequence[str]) -> list[str]:
    """Put members back: what serves least comes first, so the one that failed does."""
    states = work.everyone(nodes, "mongodb.status").answers
    order = in_order(list(reversed(nodes)), states)
    return turns.each(order, lambda node: replace(work, node))


def in_order(nodes: Sequence[str], states: dict[str, Any]) -> list[str]:
    """Return members in the order in which they may be touched."""
    # A member that is down is brought up before one that serves is touched, the primary is last.
    rank = {"PRIMARY": 2, "SECONDARY": 1}

    def key(node: str) -> int:
        state = states.get(node)
        return rank.get(state.get("state") or "", 0) if isinstance(state, dict) else 0

    return sorted(nodes, key=key)


def replica_set(minions: Minions, members: Iterable[str]) -> dict[str, Any]:
    """
    Return how far the replica set is, as its members tell.

    Returns ``states`` (``mongodb.status`` by member) and ``begun``: whether the set is initiated
    and has its administrator. A rollout that died between the two leaves a set that lets nobody in
    but the node that makes the administrator; it serves nobody yet, and is finished like one that
    was never begun.

    Raises FleetError when a minion does not answer: a set that is not seen would be taken for one
    that does not exist.
    """
    members = list(members)
    states = ask(minions, members, "mongodb.status")
    begun = any(state["initialized"] for state in states.values()) and not any(
        ask(minions, members, "mongodb.is_open").values()
    )
    return {"states": states, "begun": begun}


def begin(work: Work, members: Sequence[str]) -> None:
    """Make the set: all daemons at once, then the first node makes the set and its users."""
    work.apply("db", members, ["db.service"])
    work.apply("db", members[:1], ["db.replication"])
    healthy(work)
    # What else a member has, as the service that keeps the oplog, logs in as one of these users.
    work.apply("db", members, ["db"])


def enter(work: Work, node: str) -> None:
    """Take a new member into the set; it copies all data first, however long that takes."""
    work.apply("db", [node], ["db"])
    member_back(work, node)


def replace(work: Work, node: str) -> None:
    """Bring one member to the target: it steps down, changes, and has caught up again."""
    with work.within(work.limits["deadline"]):
        step_aside(work, node)
        work.apply("db", [node], ["db"])
        member_back(work, node)


def step_aside(work: Work, node: str) -> None:
    """
    Make sure that a member can be touched: the others are a majority, and it is not the primary.

    A set of one member has nobody to hand over to: its member is touched as it is.
    """
    # Those that leave are members until they have left.
    members = [*work.with_role("db"), *_leaving(work)]
    with work.step("db", "making sure that it can be touched", node) as step:
        if len(members) == 1:
            step.did = "the only member: there is nobody to hand over to"
            return
        others = [each for each in members if each != node]
        own = _address(work, node)

        def look() -> tuple[bool, str]:
            seen = _view(work, others)
            up = [each for each in seen["members"] if each["health"] == 1 and each["name"] != own]
            serving = [each for each in up if each["state"] in ("PRIMARY", "SECONDARY")]
            enough = len(serving) > len(seen["members"]) // 2
            return enough, f"{len(serving)} of {len(others)} other members serve"

        work.until(look, _BACK, f"the others are a majority without {node}", step)
        asked = work.everyone([node], "mongodb.is_primary")
        if asked.failed and _may_serve(work, others, own):
            # One of which nobody knows whether it is the primary is not touched.
            raise FleetError(*asked.problems())
        if asked.answers.get(node) is not True:
            step.did = "is not the primary"
            return
        successor = work.ask([node], "mongodb.step_down", timeout=90)
        step.did = f"handed over to {successor[node]}"


def _address(work: Work, node: str) -> str:
    return f"{work.nodes[node]['address']}:{work.settings['mongodb']['port']}"


def _leaving(work: Work) -> list[str]:
    leaving: dict[str, Any] = work.target.topology.get("leaving", {})
    return [node for node, entry in leaving.items() if "db" in entry["roles"]]


def _view(work: Work, nodes: Sequence[str]) -> dict[str, Any]:
    """Return the replica set as the first of these nodes that answers sees it."""
    for node in nodes:
        seen = work.everyone([node], "mongodb.status").answers.get(node)
        if isinstance(seen, dict) and seen["members"]:
            return seen
    raise FleetError(f"none of {', '.join(nodes)} answers for the replica set")


def _may_serve(work: Work, others: Sequence[str], own: str) -> bool:
    """Return whether the others see a member serve, or cannot tell."""
    members = _view(work, others)["members"]
    return any(each["name"] == own and each["health"] == 1 for each in members)


def member_back(work: Work, node: str) -> None:
    """Wait until a member serves again and has caught up, and the set has a primary."""
    with work.step("db", "waiting until it serves and has caught up", node) as step:
        seen = work.wait([node], "mongodb.wait_member", timeout=_BACK)[node]
        step.did = f"{seen['state']}, {seen['lag_s']} s behind"


def healthy(work: Work) -> None:
    """Wait until every member of the replica set is up and there is a primary."""
    first = work.with_role("db")[0]
    with work.step("db", "waiting for the replica set", first):
        wanted: dict[str, Any] = {"require": "all"}
        if _leaving(work):
            # One that leaves may be gone already.
            wanted = {"members": [_address(work, node) for node in work.with_role("db")]}
        work.wait([first], "mongodb.wait_healthy", timeout=60.0, **wanted)
