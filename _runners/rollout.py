"""
The steps of a rollout, as ``salt/orch/`` calls them. Each is also of use by hand.

A step does one thing to one node, waits until it is so, and says what it did. When it cannot, it
ends with ``retcode`` 1, and the journal names stage, node, step and reason for the summary.
"""

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

from salt.exceptions import CommandExecutionError, SaltException

__context__: dict[str, Any]
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]
__utils__: dict[str, Callable[..., Any]]

#: Stages in their order, for the progress that is told.
STAGES = ("preflight", "prepare", "storage", "db", "web", "lb", "verify")


def _fleet(function: str, *args: Any, **kwargs: Any) -> Any:
    return __utils__[f"fleet.{function}"](*args, **kwargs)


def _ledger(function: str, *args: Any, **kwargs: Any) -> Any:
    return __utils__[f"ledger.{function}"](
        __opts__.get("counterapp_state", "/var/lib/counterapp"), *args, **kwargs
    )


def _settings() -> dict[str, Any]:
    found: dict[str, Any] = __salt__["counterapp.settings"]()
    return found


def _step(stage: str, node: str | None, step: str, action: Callable[[], Any]) -> dict[str, Any]:
    """Run one step: tell it, do it, and write down who failed at what when it fails."""
    number = STAGES.index(stage) + 1
    _fleet("tell", stage, f"stage {number} of {len(STAGES)}, {stage}: {step}", node)
    try:
        return {"node": node, "step": step, "did": action()}
    except SaltException as error:
        reason = str(error)
    if _mine() and not (_ledger("journal") or {}).get("failed"):
        _ledger("note", failed={"stage": stage, "node": node, "step": step, "reason": [reason]})
    __context__["retcode"] = 1
    return {"retcode": 1, "node": node, "step": step, "failed": [reason]}


def _mine() -> bool:
    holder = _ledger("holder")
    return bool(holder and holder["mine"])


# What there is to do


def planned(stage: str | None = None) -> dict[str, Any]:
    """
    Return the plan of the rollout that runs, with what is true now of a stage.

    stage
        ``prepare``, ``storage``, ``db``, ``web`` or ``lb``.

    Returns the plan of ``counterapp.preflight``, for a stage with ``todo``: the nodes in the order
    in which they are to be touched, and

    * ``prepare``: ``fresh``, the nodes on which nothing of their role runs;
    * ``storage``: ``clients``, nodes that can follow all at once;
    * ``db``: ``initialized``, ``members``;
    * ``web``: ``serving``, the balancers that send traffic; ``strayed``, nodes without anything to
      do that a rollout which died has left drained;
    * ``lb``: ``serving``.

    Raises CommandExecutionError when no rollout runs.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.planned web
    """
    journal = _ledger("journal")
    if not journal or "plan" not in journal:
        raise CommandExecutionError(
            "no rollout has passed its preflight: run salt-run state.orchestrate orch.rollout"
        )
    plan = {**journal["plan"], "previous": journal.get("previous")}
    if stage is None:
        return plan
    return {**plan, **globals()[f"_plan_{stage}"](plan["nodes"])}


def _pending(nodes: dict[str, Any], prefixes: list[str], role: str | None = None) -> list[str]:
    """Return the nodes that have something to do in an SLS of these names."""
    return [
        node
        for node, entry in nodes.items()
        if (role is None or role in entry["roles"])
        and any(
            sls == prefix or sls.startswith(f"{prefix}.")
            for sls in entry["pending"]
            for prefix in prefixes
        )
    ]


def _plan_prepare(nodes: dict[str, Any]) -> dict[str, Any]:
    todo = _pending(nodes, ["base", "gluster.install", "storage.install", "storage.service"])
    fresh = [node for node, entry in nodes.items() if entry["fresh"]]
    return {"todo": [node for node in nodes if node in {*todo, *fresh}], "fresh": fresh}


def _plan_storage(nodes: dict[str, Any]) -> dict[str, Any]:
    keepers = _pending(nodes, ["storage", "gluster"], "storage")
    volume = _settings()["gluster"]["volume"]
    found = _fleet("everyone", keepers, "gluster.volumes")["answers"].values()
    if not any(isinstance(volumes, list) and volume in volumes for volumes in found):
        # The first one makes the volume; nobody uses it yet whom the others could hurt.
        keepers = keepers[:1]
    clients = [node for node in _pending(nodes, ["storage", "gluster"]) if node not in keepers]
    return {"todo": keepers, "clients": clients}


def _plan_db(nodes: dict[str, Any]) -> dict[str, Any]:
    members = [node for node, entry in nodes.items() if "db" in entry["roles"]]
    found = _fleet("replica_set", members)
    # A member that is down is brought up before one that serves is touched, the primary is last.
    rank = {"PRIMARY": 2, "SECONDARY": 1}
    todo = sorted(
        _pending(nodes, ["mongodb"], "db"),
        key=lambda node: rank.get(found["states"][node]["state"], 0),
    )
    return {
        "todo": todo,
        "members": members,
        "initialized": found["begun"],
    }


def _plan_web(nodes: dict[str, Any]) -> dict[str, Any]:
    views = _views(nodes)
    servers = [server for view in views.values() for server in view]
    # What serves nobody comes first, so that it can stand in for the others.
    useful = {server["name"] for server in servers if server["in_service"]}
    todo = sorted(_pending(nodes, ["web"], "web"), key=lambda node: node in useful)
    # In maint is what an operator took out on purpose; it stays there.
    drained = {server["name"] for server in servers if server["admin"] == "drain"}
    strayed = [node for node in nodes if node in drained and node not in todo]
    return {"todo": todo, "serving": list(views), "strayed": strayed}


def _plan_lb(nodes: dict[str, Any]) -> dict[str, Any]:
    vip = __salt__["counterapp.topology"]()["vip"]
    holders = _holders(nodes, vip)
    # The one that holds the VIP is last.
    todo = sorted(_pending(nodes, ["lb"], "lb"), key=lambda node: node in holders)
    return {"todo": todo, "serving": _serving(nodes)}


def _balancers(nodes: dict[str, Any] | None = None) -> list[str]:
    nodes = nodes or __salt__["counterapp.topology"]()["nodes"]
    return [node for node, entry in nodes.items() if "lb" in entry["roles"]]


def _views(nodes: dict[str, Any] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return the servers as each balancer sees them that has the backend and so sends traffic."""
    backend = _settings()["lb"]["backend"]
    found = _fleet("everyone", _balancers(nodes), "haproxy.servers", [backend])["answers"]
    return {node: servers for node, servers in found.items() if isinstance(servers, list)}


def _serving(nodes: dict[str, Any] | None = None) -> list[str]:
    return list(_views(nodes))


def _holders(nodes: dict[str, Any], vip: str) -> list[str]:
    found = _fleet("ask", _balancers(nodes), "network.ip_addrs")
    return [node for node, addresses in found.items() if vip in addresses]


# Applying states


def apply(
    stage: str,
    nodes: str | list[str],
    sls: str | list[str],
    pillar: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Apply SLS on nodes, at once, and succeed only when every state of every node did.

    stage
        The rollout's stage, for progress and summary.
    nodes
        A minion ID, or a list of them.
    sls
        An SLS name, or a list of them.
    pillar
        Pillar on top of the nodes' own.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.apply web web-1 web pillar='{"release": "1.4.0"}'
    """
    nodes = [nodes] if isinstance(nodes, str) else list(nodes)
    sls = [sls] if isinstance(sls, str) else list(sls)

    def act() -> dict[str, Any]:
        reports = _fleet("apply", nodes, sls=sls, pillar=pillar)
        bad = [
            f"{node}: {_fleet('why', report)}"
            for node, report in reports.items()
            if not report["result"]
        ]
        _count_changes(reports)
        if bad:
            raise CommandExecutionError("; ".join(bad))
        return {
            node: {
                "states": report["states"],
                "changed": [each["id"] for each in report["changed"]],
            }
            for node, report in reports.items()
        }

    return _step(stage, ", ".join(nodes), f"applying {', '.join(sls)}", act)


def _count_changes(reports: dict[str, dict[str, Any]]) -> None:
    if not _mine():
        return
    changes = (_ledger("journal") or {}).get("changes", {})
    for node, report in reports.items():
        changes[node] = changes.get(node, 0) + len(report["changed"])
    _ledger("note", changes=changes)


# Storage


def volume_healthy(timeout: float = 120) -> dict[str, Any]:
    """
    Wait until the shared volume has all its bricks and nothing left to heal.

    timeout
        Seconds to wait.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.volume_healthy timeout=30
    """
    keeper = __salt__["counterapp.with_role"]("storage")[0]
    volume = _settings()["gluster"]["volume"]

    def act() -> str:
        def look() -> tuple[bool, str]:
            seen = _fleet("ask", [keeper], "gluster.healthy", [volume])[keeper]
            return seen["healthy"], "; ".join(seen["reasons"])

        _until(look, timeout, f"the volume {volume} is healthy")
        return "healthy"

    return _step("storage", keeper, f"waiting for the volume {volume}", act)


def publish(release: str) -> dict[str, Any]:
    """
    Vouch for the release and put it on the shared volume; see ``counterapp.publish``.

    release
        Its version.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.publish 1.4.0
    """

    def act() -> dict[str, Any]:
        done: dict[str, Any] = __salt__["counterapp.publish"](release)
        if "failed" in done:
            raise CommandExecutionError("; ".join(done["failed"]))
        return done

    master = __salt__["counterapp.with_role"]("master")[0]
    return _step("storage", master, f"publishing release {release}", act)


# The database


def step_aside(node: str) -> dict[str, Any]:
    """
    Make sure that a member of the replica set can be touched: the others are a healthy majority
    without it, and it is not the primary.

    A set of one member has nobody to hand over to: its member is touched as it is.

    node
        The member's minion ID.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.step_aside db-1
    """

    def act() -> str:
        members = __salt__["counterapp.with_role"]("db")
        if len(members) == 1:
            return "the only member: there is nobody to hand over to"
        topology = __salt__["counterapp.topology"]()
        others = [each for each in members if each != node]

        def look() -> tuple[bool, str]:
            seen = _member_view(others)
            own = f"{topology['nodes'][node]['address']}:{_settings()['mongodb']['port']}"
            up = [each for each in seen["members"] if each["health"] == 1 and each["name"] != own]
            serving = [each for each in up if each["state"] in ("PRIMARY", "SECONDARY")]
            enough = len(serving) > len(members) // 2
            return enough, f"{len(serving)} of {len(others)} other members serve"

        _until(look, 120, f"the others are a majority without {node}")
        own_state = _fleet("everyone", [node], "mongodb.is_primary")["answers"].get(node)
        if own_state is not True:
            return "is not the primary"
        successor = _fleet("ask", [node], "mongodb.step_down", kwarg={"timeout": 60}, timeout=90)
        return f"handed over to {successor[node]}"

    return _step("db", node, "making sure that it can be touched", act)


def _member_view(nodes: list[str]) -> dict[str, Any]:
    """Return the replica set as the first of these nodes that answers sees it."""
    for node in nodes:
        seen = _fleet("everyone", [node], "mongodb.status")["answers"].get(node)
        if isinstance(seen, dict) and seen["members"]:
            return seen
    raise CommandExecutionError(f"none of {', '.join(nodes)} answers for the replica set")


def member_back(node: str, timeout: float = 120) -> dict[str, Any]:
    """
    Wait until a member serves again and has caught up, and the set has a primary.

    node
        The member's minion ID.
    timeout
        Seconds to wait.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.member_back db-2
    """

    def act() -> str:
        kwarg = {"timeout": timeout}
        seen = _fleet("ask", [node], "mongodb.wait_member", kwarg=kwarg, timeout=timeout)[node]
        return f"{seen['state']}, {seen['lag_s']} s behind"

    return _step("db", node, "waiting until it serves and has caught up", act)


def replica_set_healthy(timeout: float = 60) -> dict[str, Any]:
    """
    Wait until every member of the replica set is up and there is a primary.

    timeout
        Seconds to wait.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.replica_set_healthy
    """

    def act() -> str:
        kwarg = {"require": "all", "timeout": timeout}
        _fleet("ask", [first], "mongodb.wait_healthy", kwarg=kwarg, timeout=timeout)
        return "healthy"

    first = __salt__["counterapp.with_role"]("db")[0]
    return _step("db", first, "waiting for the replica set", act)


# The web nodes


def drain(node: str) -> dict[str, Any]:
    """
    Take a web node out of rotation in every balancer and wait until its last session has ended.

    Refused, and undone, when fewer than ``web:min_in_service`` would stay in a balancer.

    node
        The web node's minion ID.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.drain web-1
    """

    def act() -> str:
        chosen = _settings()
        kwarg = {
            "timeout": chosen["web"]["drain_timeout"],
            "lease": chosen["web"]["drain_lease"],
            "min_in_service": chosen["web"]["min_in_service"],
        }
        balancers = _serving()
        touched = (_ledger("journal") or {}).get("web_touched", [])
        if _mine() and node not in touched:
            _ledger("note", web_touched=[*touched, node])
        found = _fleet(
            "everyone",
            balancers,
            "haproxy.drain",
            [chosen["lb"]["backend"], node],
            kwarg,
            timeout=kwarg["timeout"],
        )
        if found["failed"]:
            back = [each for each in balancers if each not in found["failed"]]
            _fleet("everyone", back, "haproxy.ready", [chosen["lb"]["backend"], node])
            raise CommandExecutionError(
                "; ".join(f"{each}: {reason}" for each, reason in found["failed"].items())
            )
        return f"drained in {', '.join(balancers) or 'no balancer, as none runs'}"

    return _step("web", node, "draining it in every balancer", act)


def web_ready(node: str | list[str], release: str) -> dict[str, Any]:
    """
    Wait until a web node is ready with a release, and stays so for ``web:min_healthy_time``.

    node
        A minion ID, or a list of them to wait for at once.
    release
        The version that must answer.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.web_ready web-1 1.4.0
    """
    nodes = [node] if isinstance(node, str) else list(node)

    def act() -> dict[str, str]:
        web = _settings()["web"]
        kwarg = {
            "timeout": web["ready_timeout"],
            "release": str(release),
            "hold": web["min_healthy_time"],
        }
        patience = web["ready_timeout"] + web["min_healthy_time"]
        found = _fleet("ask", nodes, "counterapp.wait_ready", kwarg=kwarg, timeout=patience)
        return {each: f"ready after {seen['waited']} s" for each, seen in found.items()}

    step = f"waiting until ready with release {release}"
    return _step("web", ", ".join(nodes), step, act)


def rejoin(node: str) -> dict[str, Any]:
    """
    Put a web node back into rotation in every balancer, and wait until each calls it up.

    node
        The web node's minion ID.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.rejoin web-1
    """

    def act() -> str:
        balancers = _serving()
        backend = _settings()["lb"]["backend"]
        _fleet("ask", balancers, "haproxy.ready", [backend, node])
        _fleet("ask", balancers, "haproxy.wait_up", [backend, node], timeout=40)
        return f"in rotation in {', '.join(balancers) or 'no balancer, as none runs'}"

    return _step("web", node, "putting it back into rotation", act)


def undo_web() -> dict[str, Any]:
    """
    Put the web nodes that this rollout has moved back to the release that the fleet was on.

    The node that failed comes first, then the ones done before it. Each gets its place in the
    balancers again, whose checks decide on it, also when it could not be put back, and where the
    rollout was not about another release. On a first rollout there is nothing to go back to.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.undo_web
    """

    def act() -> dict[str, Any]:
        journal = _ledger("journal") or {}
        backend = _settings()["lb"]["backend"]
        previous, touched = journal.get("previous"), journal.get("web_touched", [])
        undone: list[str] = []
        problems: list[str] = []
        # The last one first: it is the one that failed and serves nobody now.
        for node in reversed(touched):
            if previous and previous != journal.get("release"):
                problem = _put_back(node, previous)
                (problems if problem else undone).append(problem or node)
            _fleet("ask", _serving(), "haproxy.ready", [backend, node])
        if problems:
            raise CommandExecutionError("; ".join(problems))
        return {"release": previous, "nodes": undone}

    return _step("web", None, "putting back what was done", act)


def _put_back(node: str, release: str) -> str | None:
    """Give a web node an earlier release again; return why not, or None."""
    for step in (
        lambda: drain(node),
        lambda: apply("web", node, "web", {"release": release}),
        lambda: web_ready(node, release),
        lambda: rejoin(node),
    ):
        result = step()
        if "failed" in result:
            return f"{node}: {result['step']}: {'; '.join(result['failed'])}"
    return None


# The balancers


def hand_over_vip(node: str) -> dict[str, Any]:
    """
    Make sure that a balancer does not hold the VIP while another one could.

    Stops its keepalived, which says goodbye to the others; the state that follows starts it again.
    The only balancer of a fleet keeps the VIP.

    node
        The balancer's minion ID.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.hand_over_vip lb-1
    """

    def act() -> str:
        topology = __salt__["counterapp.topology"]()
        nodes, vip = topology["nodes"], topology["vip"]
        others = [each for each in _balancers(nodes) if each != node]
        if node not in _holders(nodes, vip):
            return "does not hold the VIP"
        if not others:
            return "the only balancer: it keeps the VIP"
        _fleet("ask", [node], "service.stop", ["keepalived"])

        def look() -> tuple[bool, str]:
            taken = [each for each in _holders(nodes, vip) if each != node]
            return bool(taken), ", ".join(taken) or "nobody has it"

        try:
            return f"handed the VIP over to {_until(look, 20, 'another balancer holds the VIP')}"
        except CommandExecutionError:
            _fleet("ask", [node], "service.start", ["keepalived"])
            raise

    return _step("lb", node, "handing over the VIP", act)


def balancer_ready(node: str) -> dict[str, Any]:
    """
    Wait until a balancer calls every web server up.

    node
        The balancer's minion ID.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.balancer_ready lb-2
    """

    def act() -> str:
        backend = _settings()["lb"]["backend"]
        webs = __salt__["counterapp.with_role"]("web")
        for web in webs:
            _fleet("ask", [node], "haproxy.wait_up", [backend, web], timeout=40)
        return f"{', '.join(webs)} up"

    return _step("lb", node, "waiting until it sees the web servers", act)


def vip_held(timeout: float = 20) -> dict[str, Any]:
    """
    Wait until exactly one balancer holds the VIP.

    timeout
        Seconds to wait.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.vip_held
    """

    def act() -> str:
        topology = __salt__["counterapp.topology"]()

        def look() -> tuple[bool, str]:
            holders = _holders(topology["nodes"], topology["vip"])
            return len(holders) == 1, f"held by {', '.join(holders) or 'nobody'}"

        return _until(look, timeout, f"one balancer holds {topology['vip']}")

    return _step("lb", None, "waiting for the VIP", act)


# The end


def verify(release: str) -> dict[str, Any]:
    """
    Verify the fleet as a step of a rollout; see ``counterapp.verify``.

    release
        The version that must answer.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.verify 1.4.0
    """

    def act() -> dict[str, Any]:
        done: dict[str, Any] = __salt__["counterapp.verify"](release=release)
        if "failed" in done:
            raise CommandExecutionError("; ".join(done["failed"]))
        return done

    return _step("verify", None, "counting hits through the VIP", act)


def finish() -> dict[str, Any]:
    """
    End a rollout that succeeded: note its release as the fleet's, write history, unlock.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.finish
    """
    journal = _ledger("journal") or {}
    release = journal.get("release")
    _record_release(release)
    summary = _close(journal, "succeeded")
    changed = sum(summary["changes"].values())
    _fleet("tell", "verify", f"release {release} is out, {changed} changes")
    return summary


def abandon() -> dict[str, Any]:
    """
    End a rollout that failed: write history, unlock, and say which node, which step and why.

    Always ends with ``retcode`` 1.

    CLI Example:

    .. code-block:: bash

        salt-run rollout.abandon
    """
    __context__["retcode"] = 1
    if not _mine():
        return {"retcode": 1, "failed": ["another rollout has the lock; see the step before"]}
    journal = _ledger("journal") or {}
    failed = journal.get("failed") or {
        "stage": None,
        "node": None,
        "step": None,
        "reason": ["a step could not be rendered or run: see the output of the steps above"],
    }
    summary = _close(journal, "failed", failed)
    where = " ".join(filter(None, (failed["stage"], failed["node"], failed["step"])))
    sentence = ": ".join(filter(None, ("rollout failed", where, "; ".join(failed["reason"]))))
    _fleet("tell", failed["stage"] or "preflight", sentence, failed["node"])
    return {"retcode": 1, "failed": [sentence], **failed, "release": summary["release"]}


def _close(
    journal: dict[str, Any], outcome: str, failed: dict[str, Any] | None = None
) -> dict[str, Any]:
    entry = {
        "jid": journal.get("jid"),
        "owner": journal.get("owner"),
        "started": journal.get("started"),
        "ended": __utils__["ledger.now"](),
        "release": journal.get("release"),
        "previous": journal.get("previous"),
        "outcome": outcome,
        "changes": {node: n for node, n in journal.get("changes", {}).items() if n},
        "failed": failed,
    }
    _ledger("record", entry)
    _ledger("release")
    return entry


def _record_release(release: str | None) -> None:
    """Leave the fleet's release where the pillar of every node has it from."""
    folder = pathlib.Path(__opts__.get("counterapp_config", "/etc/salt/counterapp")) / "pillar"
    target = folder / "release.sls"
    text = (
        "# Written by the last successful rollout: what a node converges to on its own.\n"
        f"release: {json.dumps(release)}\n"
    )
    with contextlib.suppress(FileNotFoundError):
        if target.read_text(encoding="utf-8") == text:
            return
    partial = folder / f".release.sls.{os.getpid()}"
    try:
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o600)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CommandExecutionError(f"the fleet's release cannot be noted: {error}") from error


def _until(look: Callable[[], tuple[bool, str]], timeout: float, what: str) -> str:
    """Ask ``look`` for ``(done, seen)`` until done, and return what it saw."""
    deadline = time.monotonic() + timeout
    while True:
        done, seen = look()
        if done:
            return seen
        if time.monotonic() > deadline:
            raise CommandExecutionError(f"not within {timeout} s: {what}; last seen: {seen}")
        time.sleep(0.5)
