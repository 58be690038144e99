"""
A candidate against the fleet: what a rollout of it would do, node by node and in its order.

:func:`view` has it as data, ``fleet.plan_table`` as tables for a terminal. Neither has a secret.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from fleet import diff, files, handover, lock, plan_table, preflight, rollout
from fleet import revision as revisions
from fleet.change import Change, Step
from fleet.errors import FleetError
from fleet.master import Master
from fleet.minions import Minions
from fleet.plan import NodePlan, Plan
from fleet.revision import CANDIDATE, Revision
from fleet.screen import drawable
from fleet.stages import db, leaving, prepare, web
from fleet.work import Work

#: What Salt says of a service in a dry run whose watched states would change.
_SERVICE = re.compile(
    r"(?:set to (?:be )?|would have been )(?P<what>start|restart|reload)(?:ed)?\b"
)
#: What Salt puts in the place of a difference that a state does not show.
_HIDDEN = "<show_changes=False>"
_ROLES = ("db", "web", "lb")

render = plan_table.render


@dataclass
class Present:
    """
    What runs now, as far as the order of a rollout goes by it.

    members
        The state of each member of the replica set, ``PRIMARY`` or whatever; empty before the set
        is begun.
    servers
        The web servers that are in service in a balancer; None when no balancer serves.
    holders
        The balancers that have the VIP.
    """

    members: dict[str, str | None] = field(default_factory=dict)
    servers: set[str] | None = None
    holders: list[str] = field(default_factory=list)


def order(made: Plan, present: Present, batch: int = 1) -> list[tuple[str, list[str]]]:
    """
    Return the stages of a rollout, each with nodes that are changed at once, in their order.

    batch
        How many web servers are replaced at once.
    """

    def one_by_one(nodes: Sequence[str], size: int = 1) -> list[list[str]]:
        return [list(nodes[at : at + size]) for at in range(0, len(nodes), size)]

    keepers = made.todo(["storage", "gluster"], "storage")
    clients = [node for node in made.todo(["storage", "gluster"]) if node not in keepers]
    members = made.todo(["db"], "db")
    servers = made.todo(["web"], "web")
    balancers = sorted(made.todo(["lb"], "lb"), key=lambda node: node in present.holders)
    if present.members:
        states = {node: {"state": state} for node, state in present.members.items()}
        turns = one_by_one(db.in_order(members, states))
    else:
        turns = [members]
    useful = present.servers
    groups = {
        "prepare": [prepare.todo(made)],
        "storage": [*one_by_one(keepers), clients],
        "db": turns,
        "web": [servers]
        if useful is None
        else one_by_one(sorted(servers, key=lambda node: node in useful), batch),
        "lb": [balancers] if useful is None else one_by_one(balancers),
    }
    return [(stage, nodes) for stage, every in groups.items() for nodes in every if nodes]


def view(
    made: Plan,
    candidate: Revision,
    base: Revision | None,
    present: Present,
    batch: int = 1,
) -> dict[str, Any]:
    """
    Return what a rollout would do, as data without secrets.

    ``revision`` and ``release`` have ``from`` and ``to``; ``changes`` is how many states would
    change something; ``order`` has ``stage`` and ``nodes`` (which are changed at once) of each
    turn. ``nodes`` has by node, those that are changed first at the beginning, the states that
    would change, in their order: ``stage``, ``sls``, ``id``, ``state``, ``name``, ``comment``,
    ``changes`` (each ``what``, ``old``, ``new``), ``diff`` (unified, or None), ``hidden`` (there
    are changes that the state does not show) and ``fails`` (it already fails in a dry run).
    ``restarts`` has ``node``, ``service``, ``what`` (``start``, ``restart``, ``reload``) and
    ``stage``; ``drains``, ``step_downs`` and ``hand_overs`` have the nodes that are taken out of
    rotation, that cease to be the primary, and that hand over the VIP; ``leaving`` has the nodes
    that leave the fleet. ``files`` has what differs between the revisions, as
    :func:`fleet.diff.of_revisions`.

    Raises FleetError when the pillar, which says what is a secret, does not render.
    """
    turns = order(made, present, batch)
    by_stage: dict[str, list[str]] = {}
    for stage, nodes in turns:
        by_stage.setdefault(stage, []).extend(nodes)
    first = dict.fromkeys(node for _stage, nodes in turns for node in nodes)
    states = {
        node: _entries(node, made.nodes[node], by_stage)
        for node in first | dict.fromkeys(made.nodes)
        if made.nodes[node].pending
    }
    found = {
        "revision": {"from": base.id if base else None, "to": candidate.id},
        "release": {"from": base.release if base else None, "to": candidate.release},
        "changes": made.changes,
        "order": [{"stage": stage, "nodes": nodes} for stage, nodes in turns],
        "nodes": states,
        "restarts": _restarts(turns, states),
        "drains": [node for node in by_stage.get("web", []) if node in (present.servers or ())],
        "step_downs": [
            node
            for node in by_stage.get("db", [])
            if present.members.get(node) == "PRIMARY" and len(present.members) > 1
        ],
        "hand_overs": [
            node
            for node in by_stage.get("lb", [])
            if node in present.holders and len(_with_role(made, "lb")) > 1
        ],
        "leaving": list(leaving.going(candidate)),
        "files": diff.of_revisions(base, candidate),
    }
    masked: dict[str, Any] = diff.masker(_secrets(candidate, base))(found)
    return masked


def _secrets(candidate: Revision, base: Revision | None) -> set[str]:
    nodes = _known(candidate)
    found = diff.secrets(candidate, nodes)
    # What is a secret is no part of a revision, so that one of the two knows it for each node.
    gone = [node for node in _known(base) if node not in nodes] if base else []
    return found | diff.secrets(base, gone) if base else found


def _known(revision: Revision) -> list[str]:
    return [*revision.topology["nodes"], *revision.topology.get("leaving", {})]


def _with_role(made: Plan, role: str) -> list[str]:
    return [node for node, entry in made.nodes.items() if role in entry.roles]


def _entries(
    node: str, entry: NodePlan, by_stage: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    every = [
        _state(each, _stage(sls, entry, node in by_stage.get("prepare", ())))
        for sls, states in entry.pending.items()
        for each in states
    ]
    rank = list(_STAGES)
    return sorted(every, key=lambda each: rank.index(each["stage"]))


#: ``none`` is what no stage applies: a highstate would, a rollout does not.
_STAGES = ("prepare", "storage", "db", "web", "lb", "none")


def _stage(sls: str, entry: NodePlan, prepared: bool) -> str:
    """Return the first stage that applies an SLS on a node."""
    top = sls.partition(".")[0]
    first = any(sls == each or sls.startswith(f"{each}.") for each in prepare.SLS)
    # What these include.
    first = first or (prepared and sls == "gluster.tls")
    if first or (entry.fresh and sls in {f"{role}.install" for role in _ROLES}):
        return "prepare"
    return {"gluster": "storage"}.get(top, top if top in _STAGES else "none")


def _state(each: Mapping[str, Any], stage: str) -> dict[str, Any]:
    changes = dict(each["changes"])
    text = changes.get("diff")
    shown = isinstance(text, str) and text != _HIDDEN
    if isinstance(text, str):
        del changes["diff"]
    return {
        "stage": stage,
        **{key: each[key] for key in ("sls", "id", "state", "name", "comment")},
        "changes": list(_flat(changes)),
        "diff": text if shown else None,
        "hidden": text == _HIDDEN,
        "fails": bool(each.get("fails")),
    }


def _flat(changes: Mapping[str, Any], at: str = "") -> Iterator[dict[str, Any]]:
    """Go through the changes of a state, which are old and new, or only new, at any depth."""
    for key, value in changes.items():
        what = f"{at}.{key}" if at else str(key)
        if isinstance(value, dict) and value and value.keys() <= {"old", "new"}:
            yield {"what": what, "old": value.get("old"), "new": value.get("new")}
        elif isinstance(value, dict) and value:
            yield from _flat(value, what)
        else:
            yield {"what": what, "old": None, "new": value}


def _restarts(
    turns: Sequence[tuple[str, list[str]]], nodes: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Return what happens to services, each once, in the order of the turns."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    # A restart counts for more than a reload that comes with it.
    rank = ("reload", "restart", "start")
    for stage, group in turns:
        for node in group:
            for each in nodes.get(node, ()):
                if each["stage"] != stage:
                    continue
                for service, what in _services(each):
                    known = found.get((node, service))
                    if known is None or rank.index(what) > rank.index(known["what"]):
                        found[node, service] = {
                            "node": node,
                            "service": service,
                            "what": what,
                            "stage": stage,
                        }
    return list(found.values())


def _services(each: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if each["state"] == "service.running" and (said := _SERVICE.search(each["comment"])):
        yield each["name"], said["what"]
    elif each["state"] == "counterapp.active" and each["changes"]:
        # Its comment names the service, its changes what serves now.
        named = re.search(r"and (\S+) restarted", each["comment"])
        serves = any(change["old"] for change in each["changes"])
        yield named[1] if named else "counterapp", "restart" if serves else "start"


# Finding it out


def command(
    master: Master,
    minions: Minions,
    release: str | None = None,
    revision: str | None = None,
    stream: TextIO | None = None,
) -> dict[str, Any] | str:
    """
    Show a candidate against the fleet: as tables on a terminal, else as data.

    release, revision
        As for a rollout.
    stream
        Where tables go; the default is this process's output.

    Returns the view, or where tables were shown a sentence; with ``retcode`` 2 when there are
    changes.

    Raises FleetError when the rollout would be refused, with every reason.
    """
    stream = stream or sys.stdout
    given = {"release": release, "revision": revision}
    given = {key: each for key, each in given.items() if each is not None}

    def tell(text: str) -> None:
        if sys.stderr.isatty():
            print(f"plan: {text}", file=sys.stderr, flush=True)

    found = look(master, minions, given, tell)
    much = bool(found["changes"] or found["leaving"])
    if master.opts.get("output") or not stream.isatty():
        return {"retcode": 2, **found} if much else found
    print(render(found, drawable(stream), plan_table.width(stream)), file=stream, flush=True)
    said = plan_table.summary(found)
    return {"plan": said, "retcode": 2} if much else said


def look(
    master: Master,
    minions: Minions,
    given: Mapping[str, Any],
    tell: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:
    """
    Find out what a rollout would do, and touch nothing: :func:`view`.

    given
        ``release`` or ``revision``, or neither.
    tell
        Gets in words what is looked at.

    Raises FleetError when the rollout would be refused, with every reason.
    """
    if "release" in given and "revision" in given:
        raise FleetError("say a release or a revision, not both: a revision has its release")
    # It is none: it has no line in the history, for nothing is changed.
    change = Change(master, "plan", listeners=(lambda event: tell(event["seen"]),))
    step = Step(change, "preflight", None, "looking at what a rollout would change")
    with _offered(master, minions, given, change.id) as candidate:
        # To look at it, those who leave need not be named.
        said = {**given, "leaving": list(leaving.going(candidate))}
        limits = rollout.limits_of(candidate, said)
        work = Work(change, minions, candidate, CANDIDATE, None, limits)
        made, _reached = preflight.examine(work, step)
        size = web.batch(limits, len(work.with_role("web")))
        return view(made, candidate, revisions.base(master), _present(work), size)


@contextmanager
def _offered(
    master: Master, minions: Minions, given: Mapping[str, Any], id_: str
) -> Iterator[Revision]:
    """
    Serve the candidate for as long as it is looked at, while nobody else changes the fleet.

    Raises FleetError when a change is under way, or has died and left nodes between revisions.
    """
    taken = lock.take(master.state, id_, "plan")
    dead = taken["taken_from"]
    try:
        if nodes := revisions.moving(master):
            raise FleetError(
                f"a rollout has died with {', '.join(nodes)} between two revisions: run it again, "
                "or `salt-run rollout.rollback`, and look then"
            )
        candidate = rollout.target_of(master, given)
        base = revisions.base(master)
        revisions.offer(candidate)
        try:
            yield candidate
        finally:
            if base:
                rollout.forget_modules(minions, base, candidate)
            revisions.withdraw(master)
    finally:
        if dead:
            # The next change writes down what it was at.
            left = {key: dead[key] for key in dead.keys() - {"alive", "mine", "beat"}}
            files.write_json(master.state / lock.NAME, left)
        else:
            lock.release(master.state)


def _present(work: Work) -> Present:
    """Ask what runs; the preflight has found that all of it answers."""
    found = db.replica_set(work.minions, work.with_role("db"))
    views = web.balancers_views(work)
    servers = [server for seen in views.values() for server in seen]
    return Present(
        {node: seen["state"] for node, seen in found["states"].items()} if found["begun"] else {},
        {server["name"] for server in servers if server["in_service"]} if views else None,
        handover.holders(work),
    )
