"""
Ask minions by name and hear from every one of them, or say who was silent and who failed.

For runners. Salt's own targeting leaves out who does not answer; here a node that was asked and
does not return is a failure with its name.
"""

import datetime
import math
import pathlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import salt.client
import salt.pillar
import salt.utils.event
import salt.utils.yaml
from salt.exceptions import CommandExecutionError

__opts__: dict[str, Any]

#: Progress of a rollout, for whoever listens on the master's event bus.
PROGRESS_TAG = "counterapp/rollout/progress"
#: A state of this comment only tells that another one failed.
_CONSEQUENCE = "One or more requisite failed"


def topology_path() -> pathlib.Path:
    """
    Return the path of ``topology.sls`` in the first pillar root that has one.

    Raises CommandExecutionError when none has.
    """
    roots = __opts__["pillar_roots"].get("base", [])
    for root in roots:
        path = pathlib.Path(root) / "topology.sls"
        if path.is_file():
            return path
    raise CommandExecutionError(
        f"no topology.sls in the pillar roots ({', '.join(map(str, roots))}): point pillar_roots "
        "of the master at the pillar folder of the repository"
    )


def topology_document() -> Any:
    """
    Return the parsed ``topology.sls`` of the first pillar root that has one.

    Raises CommandExecutionError when none has, and when it is no YAML.
    """
    path = topology_path()
    try:
        return salt.utils.yaml.safe_load(path.read_text(encoding="utf-8"))
    except (salt.utils.yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandExecutionError(f"{path} is no YAML: {error}") from None


def topology_name() -> str:
    """Return the name of the fleet's topology, from the master's configuration."""
    name: str = __opts__.get("counterapp_topology", "default")
    return name


def settings(node: str) -> dict[str, Any]:
    """
    Return the pillar of a node as the master would send it now.

    Pass a node that gets no secrets, the master, to learn the fleet's settings.

    Raises CommandExecutionError when the pillar does not render.
    """
    grains = {"id": node}
    pillar: dict[str, Any] = salt.pillar.Pillar(__opts__, grains, node, "base").compile_pillar()
    if problems := pillar.get("_errors"):
        raise CommandExecutionError("the pillar does not render: " + "; ".join(problems))
    return pillar


def everyone(
    nodes: Iterable[str],
    function: str | Sequence[str],
    arg: Iterable[Any] = (),
    kwarg: Mapping[str, Any] | None = None,
    timeout: float = 15,
    patience: float = 10,
) -> dict[str, dict[str, Any]]:
    """
    Run a function on each of these nodes, at once, and wait for all of them.

    nodes
        Minion IDs.
    function, arg, kwarg
        The execution function and its arguments.
    timeout
        Seconds until those who have not returned are asked whether they are still at it. A job
        may take as long as it needs while its minion says so.
    patience
        Seconds in which they must answer that question.

    Returns ``{"answers": {node: return}, "failed": {node: reason}}``; each node is in one of them.
    A return with a non-zero code is a failure, except that a dictionary or list is an answer all
    the same: functions that report a bad state do so with both. A minion that got the function's
    module a moment ago and has not loaded it yet is told to, and asked again.

    Raises CommandExecutionError when the master cannot be reached.
    """
    nodes = list(nodes)
    found: dict[str, dict[str, Any]] = {"answers": {}, "failed": {}}
    if not nodes:
        return found
    with salt.client.get_local_client(mopts=dict(__opts__)) as client:

        def run(
            targets: list[str],
            name: str | Sequence[str],
            arguments: list[Any],
            keywords: dict[str, Any],
        ) -> dict[str, Any]:
            answered: dict[str, Any] = client.cmd(
                targets,
                name,
                arguments,
                kwarg=keywords,
                tgt_type="list",
                timeout=timeout,
                gather_job_timeout=patience,
                full_return=True,
            )
            return answered

        returned = run(nodes, function, list(arg), dict(kwarg or {}))
        late = [node for node in nodes if _not_loaded(returned.get(node), function)]
        if late:
            run(late, "saltutil.refresh_modules", [], {"async": False})
            returned.update(run(late, function, list(arg), dict(kwarg or {})))
    for node in nodes:
        data = returned.get(node)
        if not isinstance(data, dict) or data.get("out") == "no_return" or "ret" not in data:
            found["failed"][node] = "the minion does not answer"
        elif data.get("retcode") and not isinstance(data["ret"], dict | list):
            found["failed"][node] = last_words(data["ret"])
        else:
            found["answers"][node] = data["ret"]
    return found


def _not_loaded(data: Any, function: str | Sequence[str]) -> bool:
    answer = data.get("ret") if isinstance(data, dict) else None
    return isinstance(answer, str) and f"'{function}' is not available" in answer


def ask(
    nodes: Iterable[str],
    function: str | Sequence[str],
    arg: Iterable[Any] = (),
    kwarg: Mapping[str, Any] | None = None,
    timeout: float = 15,
) -> dict[str, Any]:
    """
    Like :py:func:`everyone`, but return the answers and raise when one is missing.

    Raises CommandExecutionError naming each node that was silent or failed, and why.
    """
    found = everyone(nodes, function, arg, kwarg, timeout)
    if found["failed"]:
        raise CommandExecutionError(
            f"{function} failed on "
            + "; ".join(f"{node}: {reason}" for node, reason in found["failed"].items())
        )
    return found["answers"]


def clocks(nodes: Iterable[str], tolerance: float) -> dict[str, dict[str, Any]]:
    """
    Hold the clocks of nodes against the master's, and tell which are surely wrong.

    A node reads its clock at some time between our question and the last answer, so its deviation
    is known within bounds. Where these leave open whether it is wrong, the node is asked again, by
    itself and up to two times.

    nodes
        Minion IDs.
    tolerance
        Seconds by which a clock may be off.

    Returns ``{"wrong": {node: seconds}, "failed": {node: reason}}``: by how many seconds a clock
    is ahead of the master's or behind it (< 0), as the middle of the bounds; and who did not tell.
    """
    bounds: dict[str, tuple[float, float]] = {}
    failed: dict[str, str] = {}
    unsettled = list(nodes)
    for _ in range(3):
        asked = time.time()
        found = everyone(unsettled, "counterapp.clock")
        heard = time.time()
        failed.update(found["failed"])
        for node, clock in found["answers"].items():
            if isinstance(clock, int | float) and math.isfinite(clock):
                least, most = bounds.get(node, (-math.inf, math.inf))
                bounds[node] = max(least, clock - heard), min(most, clock - asked)
            else:
                failed[node] = f"{clock!r} is no time"
        unsettled = [node for node in bounds if not _is_settled(*bounds[node], tolerance)]
    wrong = {
        node: (least + most) / 2
        for node, (least, most) in bounds.items()
        if least > tolerance or most < -tolerance
    }
    return {"wrong": wrong, "failed": failed}


def _is_settled(least: float, most: float, tolerance: float) -> bool:
    return most < -tolerance or -tolerance <= least <= most <= tolerance or tolerance < least


def replica_set(members: Iterable[str]) -> dict[str, Any]:
    """
    Return how far the replica set is, as its members tell.

    members
        Minion IDs of all members.

    Returns ``states`` (``mongodb.status`` by member) and ``begun``: whether the set is initiated
    and has its administrator. A rollout that died between the two leaves a set that lets nobody
    in but the node that makes the administrator; it serves nobody yet, and is finished like one
    that was never begun.

    Raises CommandExecutionError when a minion does not answer: a set that is not seen would be
    taken for one that does not exist.
    """
    states = ask(members, "mongodb.status")
    begun = any(state["initialized"] for state in states.values()) and not any(
        ask(members, "mongodb.is_open").values()
    )
    return {"states": states, "begun": begun}


def apply(
    nodes: Iterable[str],
    sls: Iterable[str] | None = None,
    pillar: Mapping[str, Any] | None = None,
    test: bool = False,
    timeout: float = 30,
) -> dict[str, dict[str, Any]]:
    """
    Apply states on nodes, all at once: some SLS, or the whole highstate.

    nodes
        Minion IDs.
    sls
        List of SLS names; none means the highstate.
    pillar
        Pillar on top, the same for each.
    test
        True to only say what would change.
    timeout
        As for :py:func:`everyone`.

    Returns a dictionary by node: ``result`` (bool), ``error`` (why nothing could be run, or None),
    ``changed`` and ``failed`` (lists of ``{"id", "sls", "comment"}``; with ``test`` the changes
    are those that would be made), ``states`` (how many there are).
    """
    # The master of a rollout may have died and left its minions at work: they finish first.
    kwarg = {"test": test, "queue": True, **({"pillar": pillar} if pillar else {})}
    if sls:
        found = everyone(nodes, "state.sls", [",".join(sls)], kwarg, timeout)
    else:
        found = everyone(nodes, "state.highstate", [], kwarg, timeout)
    done = {node: _digest(answer) for node, answer in found["answers"].items()}
    for node, reason in found["failed"].items():
        done[node] = _unrun(reason)
    return done


def why(report: dict[str, Any]) -> str:
    """Return in one line why a report of :py:func:`apply` is not a success."""
    if report["error"]:
        return str(report["error"])
    causes = [each for each in report["failed"] if not each["comment"].startswith(_CONSEQUENCE)]
    return "; ".join(f"{each['id']}: {each['comment']}" for each in causes or report["failed"])


def last_words(answer: Any) -> str:
    """Return the last line of an error, which is what a traceback is about."""
    lines = [line.strip() for line in str(answer).splitlines() if line.strip()]
    return lines[-1].removeprefix("salt.exceptions.") if lines else "no reason was given"


def tell(stage: str, text: str, node: str | None = None) -> None:
    """
    Tell the master's event bus what a rollout is doing now.

    Fires ``counterapp/rollout/progress`` with ``stage``, ``node`` (or None), ``text``, ``time``.
    """
    event = {
        "stage": stage,
        "node": node,
        "text": text,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    with salt.utils.event.get_event(
        "master", sock_dir=__opts__["sock_dir"], opts=__opts__, listen=False
    ) as bus:
        bus.fire_event(event, PROGRESS_TAG)


def _unrun(reason: str) -> dict[str, Any]:
    return {"result": False, "error": reason, "changed": [], "failed": [], "states": 0}


def _digest(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        problems = answer if isinstance(answer, list) else [answer]
        return _unrun("; ".join(" ".join(str(each).split()) for each in problems))
    states = sorted(
        (each for each in answer.values() if isinstance(each, dict)),
        key=lambda each: each.get("__run_num__", 0),
    )
    failed = [_entry(each) for each in states if each.get("result") is False]
    changed = [
        _entry(each)
        for each in states
        if each.get("result") is None or (each.get("changes") and each.get("result"))
    ]
    return {
        "result": not failed and bool(states),
        "error": None if states else "no state was run",
        "changed": changed,
        "failed": failed,
        "states": len(states),
    }


def _entry(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": state.get("__id__", "?"),
        "sls": state.get("__sls__", "?"),
        "comment": " ".join(str(state.get("comment", "")).split()),
    }
