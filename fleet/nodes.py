"""
Single nodes: which there are and how they stand, and making one anew whose machine is gone.

The new machine itself is made outside of Salt: by Vagrant, or by hand and ``bootstrap.sh``. What it
is to the fleet afterwards is made here, by :func:`replace`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fleet import enroll, hooks, keys
from fleet import revision as revisions
from fleet.change import Change, Listener
from fleet.command import one_of
from fleet.errors import FleetError
from fleet.journal import Journal, journals
from fleet.master import Master
from fleet.minions import Minions, SaltMinions
from fleet.revision import BASE
from fleet.screen import audience
from fleet.stages import db, lb, storage, web
from fleet.stages.leaving import UNITS
from fleet.work import Work, limits

KIND = "replace"
#: Seconds in which a minion that is expected comes, and for its daemons to answer.
_COMES = 300.0
#: Seconds between the start of a brick or pool and its being whole again, without its data.
_REJOINS = 300.0


def table(master: Master, minions: Minions | None = None) -> dict[str, dict[str, Any]]:
    """
    Return the nodes of the fleet's topology, and those that leave it, in its order.

    Each has ``address``, ``roles``, ``key`` (``accepted``, ``another`` than the expected one is
    accepted, ``expected`` or ``none``), ``answers`` (bool) and ``leaving`` (bool).
    """
    topology, _ = revisions.present(master)
    known = {**topology["nodes"], **topology["leaving"]}
    found = (minions or SaltMinions(master)).everyone(known, "test.ping", (), None, 5, 5)
    return {
        node: {
            "address": entry["address"],
            "roles": entry["roles"],
            "key": _key(keys.accepted(master, node), enroll.expected(master, node)),
            "answers": node in found.answers,
            "leaving": node in topology["leaving"],
        }
        for node, entry in known.items()
    }


def _key(accepted: str | None, expected: str | None) -> str:
    if accepted is None:
        return "expected" if expected else "none"
    return "another" if expected and expected != accepted else "accepted"


def replace(
    master: Master,
    node: str,
    confirm: str | None,
    wait: float = 0,
    minions: Minions | None = None,
    listeners: Sequence[Listener] | None = None,
) -> dict[str, Any]:
    """
    Make a node anew whose machine is gone, on the new machine that has its ID and address.

    The key of the old machine is forgotten, so that the expected one is accepted; the node gets its
    place in pool, replica set and balancers again, and what the fleet is on. Given again after it
    failed or died, it goes on.

    node, confirm
        The node's ID, twice: what the old machine had is given up.
    wait
        Seconds to wait for the lock of another change.
    minions, listeners
        How to reach nodes and whom to tell; the defaults are the master's.

    Returns the change's line of the history.

    Raises FleetError when there is no such node, or it is the master or the only member of the
    replica set, and StepFailed when a step fails: the first one when the node is alive, or has no
    new machine yet.
    """
    base = revisions.base(master)
    if base is None:
        raise FleetError("nothing has been rolled out yet: a rollout makes every node")
    one_of(node, base.topology["nodes"], "node of the fleet's revision")
    if confirm != node:
        raise FleetError(
            f"{node} was left as it is: this gives up what its old machine had; if that is gone, "
            f"say confirm={node}"
        )
    roles = base.topology["nodes"][node]["roles"]
    if "master" in roles:
        raise FleetError(
            f"{node} is the master, which is made anew from the copy of its state: see "
            "docs/operating.md, A master that is a new machine"
        )
    if "db" in roles and base.with_role("db") == [node]:
        raise FleetError(
            f"{node} is the only member of the replica set, and its data is gone with its machine: "
            f"make the machine, take its old key out (`salt-key -d {node}`), roll out, which "
            "begins with an empty database, and restore a backup"
        )
    minions = minions or SaltMinions(master)
    heard = audience(master) if listeners is None else tuple(listeners)
    with Change(master, KIND, wait, heard, nodes=[node]) as change:
        change.note(**{"from": base.id, "to": base.id}, release=base.release)
        chosen = limits(base)
        change.hook = hooks.hook(chosen, change)
        change.hook("before", change.entry("begun"))
        work = Work(change, minions, base, BASE, None, chosen)
        with work.step("key", "seeing that its old machine is gone", node) as step:
            step.did = _forget_old(work, node, roles)
        _come(work, node, roles)
        for part in (_prepare, _storage, _database, _web, _balancer):
            part(work, node, roles)
    return change.entry("succeeded")


# The new machine


def _forget_old(work: Work, node: str, roles: Sequence[str]) -> str:
    """Have only the new machine's key be accepted; refuse for a node that is alive."""
    master = work.change.master
    accepted, expected = keys.accepted(master, node), enroll.expected(master, node)
    if expected is None:
        raise FleetError(
            f"no fingerprint is noted for {node}: make the new machine (`vagrant up {node}` does "
            "all), or note its fingerprint with `salt-run enroll.expect`"
        )
    answers = node in work.minions.everyone([node], "test.ping", (), None, 10, 5).answers
    if accepted and accepted != expected:
        if answers:
            raise FleetError(
                f"{node} is alive: its old machine answers by its old key; switch that machine off "
                "first"
            )
        keys.delete(master, node)
        word = "forgot the key of the old machine"
    elif answers:
        if not _unfinished(master, node):
            _refuse_alive(work, node, roles)
        word = "the new machine is here already"
    elif accepted:
        raise FleetError(
            f"{node} does not answer, and the key that is expected of it is the one that it had: "
            f"make the new machine first (`vagrant destroy -f {node}`, `vagrant up {node}`), or "
            "note its fingerprint with `salt-run enroll.expect`"
        )
    else:
        word = "no key of an old machine is accepted"
    revisions.arrived(master, node)
    return word


def _unfinished(master: Master, node: str) -> bool:
    """Return whether the last change that made this node anew did not come to its end."""
    known = [Journal(master.state, id_) for id_ in journals(master.state)]
    # IDs of the same second are in no order.
    for journal in sorted(known, key=lambda each: each.path.stat().st_mtime_ns, reverse=True):
        lines = journal.lines()
        ours = bool(lines) and lines[0].get("kind") == KIND and lines[0].get("nodes") == [node]
        # One that was refused, like this very one, has done nothing.
        if ours and any(line["event"] == "done" for line in lines):
            return not any(line.get("outcome") == "succeeded" for line in lines)
    return False


def _refuse_alive(work: Work, node: str, roles: Sequence[str]) -> None:
    units = [unit for role, each in UNITS.items() if role in roles for unit in each]
    runs = [unit for unit in units if work.ask([node], "service.status", unit)[node] is True]
    if runs:
        raise FleetError(
            f"{node} is alive: its minion answers and {' and '.join(runs)} runs there; it is made "
            "anew only when its machine is a new one"
        )


def _come(work: Work, node: str, roles: Sequence[str]) -> None:
    with work.step("key", "waiting for its minion", node) as step:
        master = work.change.master

        def look() -> tuple[bool, str]:
            if keys.accepted(master, node) is None:
                return False, "the expected key was not offered yet"
            answers = work.minions.everyone([node], "test.ping", (), None, 5, 5).answers
            return node in answers, "its minion answers" if answers else "it does not answer yet"

        work.until(look, _COMES, f"the minion of {node} answers", step)
        work.ask([node], "saltutil.refresh_pillar", wait=True, timeout=30)
        claimed = work.ask([node], "grains.get", "roles")[node]
        if sorted(claimed or []) != sorted(roles):
            raise FleetError(
                f"{node}: its roles grain is {sorted(claimed or [])}, but the topology gives it "
                f"{sorted(roles)}; correct /etc/salt/grains on the node"
            )


def _prepare(work: Work, node: str, _roles: Sequence[str]) -> None:
    work.apply("prepare", [node], ["prepare"], {"fresh": [node]})


# Its parts


def _storage(work: Work, node: str, roles: Sequence[str]) -> None:
    """Give a storage node its place in the pool again, and its brick the data of the others."""
    if "storage" not in roles:
        work.apply("storage", [node], ["gluster"])
        return
    others = [each for each in work.with_role("storage") if each != node]
    if others:
        work.apply("storage", [node], ["storage.service"])
        with work.step("storage", "taking its place in the pool", node) as step:
            step.did = _rejoin(work, node, others)
        volume = work.settings["gluster"]["volume"]
        _copy(
            work,
            "storage",
            node,
            f"copying its share of the volume {volume}",
            lambda: _healed(work, others[0], volume),
        )
    storage.replace(work, node)


def _rejoin(work: Work, node: str, others: Sequence[str]) -> str:
    address = work.nodes[node]["address"]
    pools = work.everyone(others, "gluster.peers").answers
    for server, peers in pools.items():
        if isinstance(peers, list) and any(address in peer["names"] for peer in peers):
            done = work.ask(
                [node],
                "gluster.rejoin",
                work.nodes[server]["address"],
                timeout=_REJOINS,
                confirm=address,
                force=_force(work, node),
            )[node]
            made = ", ".join(done["bricks"]) or "none"
            return f"has the identity {done['uuid']}; bricks made anew: {made}"
    if not pools:
        raise FleetError(f"none of {', '.join(others)} answers, whose pool {node} belongs to")
    return "the pool does not know it: it enters as a new peer"


def _force(work: Work, node: str) -> bool:
    """Return whether the brick may lie on the root filesystem, as salt/storage/map.jinja has it."""
    settings = work.settings["gluster"]
    if settings.get("force") is not None:
        return bool(settings["force"])
    mounts = work.ask([node], "mount.active")[node]
    brick = settings["brick"]
    return not any(mount != "/" and brick.startswith(f"{mount.rstrip('/')}/") for mount in mounts)


def _healed(work: Work, keeper: str, volume: str) -> tuple[bool, str]:
    seen = work.ask([keeper], "gluster.healthy", volume, timeout=30)[keeper]
    return seen["healthy"], "; ".join(seen["reasons"]) or "healthy"


def _database(work: Work, node: str, roles: Sequence[str]) -> None:
    """Have a member copy the database from the others; its daemon begins with nothing."""
    if "db" not in roles:
        return
    members = work.with_role("db")
    db.step_aside(work, node)
    work.apply("db", [node], ["db.service"])
    own = f"{work.nodes[node]['address']}:{work.settings['mongodb']['port']}"

    def look() -> tuple[bool, str]:
        seen = work.ask([next(each for each in members if each != node)], "mongodb.status")
        for member in next(iter(seen.values()))["members"]:
            if member["name"] == own:
                return member["state"] in ("PRIMARY", "SECONDARY"), f"it is {member['state']}"
        # The state that follows adds it.
        return True, "it is no member"

    _copy(work, "db", node, "copying the database", look)
    db.replace(work, node)


def _copy(
    work: Work, stage: str, node: str, text: str, look: Callable[[], tuple[bool, str]]
) -> None:
    """Wait until data has been copied, which takes as long as there is much of it."""
    with work.step(stage, text, node) as step:
        step.did = work.until(look, work.limits["data_timeout"], text, step)


def _web(work: Work, node: str, roles: Sequence[str]) -> None:
    if "web" in roles:
        web.replace(work, [node])


def _balancer(work: Work, node: str, roles: Sequence[str]) -> None:
    if "lb" in roles:
        lb.replace(work, node)
        lb.held(work)
