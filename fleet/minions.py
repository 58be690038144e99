"""
Asking minions by name, and hearing from every one of them: or who was silent, and who failed.

Salt's own targeting leaves out who does not answer; here a node that was asked and does not return
is a failure with its name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import salt.client

from fleet.errors import FleetError
from fleet.master import Master

#: Where Salt says which file could not be rendered, from its folder in a minion's cache on.
_PLACE = re.compile(r".*/files/[^/]+/(?P<path>[^()]+)\((?P<line>\d+)\):$")
#: So refuses a node that had the modules of another revision (salt/lib/modules.jinja).
SYNCED = "synced now"
#: Seconds by which who asks waits longer for each node beyond so many.
_EACH, _FEW = 0.15, 8
#: A state of this comment only tells that another one failed.
_CONSEQUENCE = "One or more requisite failed"


@dataclass
class Answers:
    """What nodes returned, and why others did not; each node that was asked is in one of them."""

    answers: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """Return a sentence for each node that failed."""
        return [f"{node}: {reason}" for node, reason in self.failed.items()]


@dataclass
class Report:
    """
    What applying states to a node came to.

    ``error`` says why nothing could be run, or is None; ``changed`` and ``failed`` have a
    dictionary for each such state: ``id``, ``sls``, ``state`` (``file.managed``), ``name``,
    ``comment``, ``changes`` and ``seconds``. With ``test`` the changes are those that would be
    made.
    """

    error: str | None = None
    changed: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    states: int = 0

    @property
    def good(self) -> bool:
        return not self.error and not self.failed

    def why(self) -> str:
        """Return in one line why this is not a success."""
        if self.error:
            return self.error
        causes = [each for each in self.failed if not each["comment"].startswith(_CONSEQUENCE)]
        return "; ".join(f"{each['id']}: {each['comment']}" for each in causes or self.failed)


class Minions(Protocol):
    """How this package reaches nodes."""

    def everyone(
        self,
        nodes: Iterable[str],
        function: str | Sequence[str],
        arg: Sequence[Any] = (),
        kwarg: Mapping[str, Any] | None = None,
        timeout: float = 15,
        patience: float = 10,
    ) -> Answers:
        """
        Run a function on each of these nodes, at once, and wait for all of them.

        timeout
            Seconds until those who have not returned are asked whether they are still at it. A job
            may take as long as it needs while its minion says so.
        patience
            Seconds in which they must answer that question.

        Both are for a few nodes. Of many, a master hears one after the other: it takes longer by
        what each of them takes.

        A return with a non-zero code is a failure, except that a dictionary or list is an answer
        all the same: functions that report a bad state do so with both.
        """


def ask(
    minions: Minions,
    nodes: Iterable[str],
    function: str | Sequence[str],
    arg: Sequence[Any] = (),
    kwarg: Mapping[str, Any] | None = None,
    timeout: float = 15,
) -> dict[str, Any]:
    """
    Like ``everyone``, but return the answers and raise when one is missing.

    Raises FleetError naming each node that was silent or failed, and why.
    """
    found = minions.everyone(nodes, function, arg, kwarg, timeout)
    if found.failed:
        raise FleetError(f"{function} failed on {'; '.join(found.problems())}")
    return found.answers


def apply(
    minions: Minions,
    nodes: Iterable[str],
    environment: str,
    sls: Sequence[str] | None = None,
    pillar: Mapping[str, Any] | None = None,
    test: bool = False,
    timeout: float = 30,
) -> dict[str, Report]:
    """
    Apply states on nodes, all at once: some SLS, or the whole highstate.

    environment
        The environment that states and pillar are taken from.
    sls
        Names of SLS; none means the highstate.
    pillar
        Pillar on top, the same for each.
    test
        True to only say what would change.

    A node that had the modules of another revision, and has synced them, is asked once more.
    """
    # The master of a change may have died and left its minions at work: they finish first.
    kwarg = {"test": test, "queue": True, "saltenv": environment, "pillarenv": environment}
    if pillar:
        kwarg["pillar"] = dict(pillar)

    def run(asked: Iterable[str]) -> dict[str, Report]:
        if sls:
            found = minions.everyone(asked, "state.sls", [",".join(sls)], kwarg, timeout)
        else:
            found = minions.everyone(asked, "state.highstate", [], kwarg, timeout)
        done = {node: report(answer) for node, answer in found.answers.items()}
        done.update({node: Report(error=reason) for node, reason in found.failed.items()})
        return done

    done = run(nodes)
    if synced := [node for node, each in done.items() if SYNCED in (each.error or "")]:
        done.update(run(synced))
    return done


def report(answer: Any) -> Report:
    """Return what a node's return of a state run says."""
    if not isinstance(answer, dict):
        problems = answer if isinstance(answer, list) else [answer]
        return Report(error="; ".join(_unrendered(problems)))
    states = sorted(
        ((key, each) for key, each in answer.items() if isinstance(each, dict)),
        key=lambda pair: pair[1].get("__run_num__", 0),
    )
    if not states:
        return Report(error="no state was run")
    changed = [
        _entry(key, each)
        for key, each in states
        if each.get("result") is None or (each.get("changes") and each.get("result"))
    ]
    failed = [_entry(key, each) for key, each in states if each.get("result") is False]
    return Report(None, changed, failed, len(states))


def _unrendered(problems: Iterable[Any]) -> list[str]:
    """
    Return why states could not be rendered: a sentence for each reason, with a file and its line.

    Salt gives the file's text around it, and its own trace, for each SLS that includes the file.
    """
    found: dict[str, str] = {}
    for problem in problems:
        first, *more = [line.strip() for line in str(problem).splitlines() if line.strip()] or [""]
        if first.endswith(":") and more:
            first = f"{first} {more.pop(0)}"
        place = _PLACE.match(more[0]) if more else None
        where = f" ({place['path']}, line {place['line']})" if place else ""
        # What follows the name of the SLS: many may have the same.
        found.setdefault(first.rpartition("' failed: ")[2] + where, f"{first}{where}")
    return list(found.values())


def _entry(key: str, state: dict[str, Any]) -> dict[str, Any]:
    module, *_, function = key.split("_|-")
    return {
        "id": state.get("__id__", "?"),
        "sls": state.get("__sls__", "?"),
        "state": f"{module}.{function}",
        "name": str(state.get("name", "")),
        "comment": " ".join(str(state.get("comment", "")).split()),
        "changes": state.get("changes") or {},
        "seconds": float(state.get("duration") or 0) / 1000,
    }


def last_words(answer: Any) -> str:
    """Return the last line of an error, which is what a traceback is about."""
    lines = [line.strip() for line in str(answer).splitlines() if line.strip()]
    return lines[-1].removeprefix("salt.exceptions.") if lines else "no reason was given"


class SaltMinions:
    """The minions of this master."""

    def __init__(self, master: Master) -> None:
        self._opts = master.opts

    def everyone(
        self,
        nodes: Iterable[str],
        function: str | Sequence[str],
        arg: Sequence[Any] = (),
        kwarg: Mapping[str, Any] | None = None,
        timeout: float = 15,
        patience: float = 10,
    ) -> Answers:
        """See :class:`Minions`; one that lacks a module so far loads it, and is asked again."""
        nodes = list(nodes)
        found = Answers()
        if not nodes:
            return found
        # One for each question: a client that is kept open hears every event of the bus, and must
        # be read from also when nothing was asked.
        with salt.client.get_local_client(mopts=dict(self._opts)) as client:

            def run(
                targets: list[str],
                name: str | Sequence[str],
                given: list[Any],
                named: dict[str, Any],
            ) -> dict[str, Any]:
                more = max(len(targets) - _FEW, 0) * _EACH
                answered: dict[str, Any] = client.cmd(
                    targets,
                    name,
                    given,
                    kwarg=named,
                    tgt_type="list",
                    timeout=timeout + more,
                    gather_job_timeout=patience + more,
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
                found.failed[node] = "the minion does not answer"
            elif data.get("retcode") and not isinstance(data["ret"], dict | list):
                found.failed[node] = last_words(data["ret"])
            else:
                found.answers[node] = data["ret"]
        return found


def _not_loaded(data: Any, function: str | Sequence[str]) -> bool:
    answer = data.get("ret") if isinstance(data, dict) else None
    return isinstance(answer, str) and f"'{function}' is not available" in answer
