"""
A rollout: the fleet goes from the revision that it is on to another one, or back.

``salt/orch/rollout.sls`` is its table of contents, and calls in one process what is here:
:func:`begin`, then :meth:`Rollout.preflight`, :meth:`Rollout.stage` for each stage,
:meth:`Rollout.verify` and :meth:`Rollout.finish`, or, when one of them fails, :meth:`Rollout.undo`.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from salt.exceptions import SaltException

from fleet import archive, hooks, lock, preflight, releases
from fleet import pillar as pillars
from fleet import revision as revisions
from fleet.change import Change, Listener, current
from fleet.command import known
from fleet.errors import FleetError, sentences
from fleet.journal import Journal, history
from fleet.master import Master
from fleet.minions import Minions, SaltMinions
from fleet.revision import BASE, CANDIDATE, Revision
from fleet.screen import audience
from fleet.stages import STAGES, Stage, leaving
from fleet.verify import verify
from fleet.work import Work, limits

#: What can be said to one rollout, beside the settings of ``rollout`` in the pillar.
ARGUMENTS = ("release", "revision", "wait", "leaving")
#: Settings of ``rollout`` that can be said to one rollout.
LIMITS = ("batch", "min_in_service", "min_healthy_time", "deadline", "total_deadline", "canary")

_running: list["Rollout"] = []


class Rollout:
    """
    One rollout, from its lock to its line in the history.

    change
        The change that it is, which is open.
    target
        The revision that it takes the fleet to, served as ``candidate``.
    before
        The revision that the fleet is on; None on the first rollout.
    limits
        The settings of ``rollout``, with what was said to this one on top.
    earlier
        The candidate of a change that died and has left nodes on their way, or None.
    """

    def __init__(
        self,
        change: Change,
        minions: Minions,
        target: Revision,
        before: Revision | None,
        limits: Mapping[str, Any],
        earlier: Revision | None = None,
    ) -> None:
        self.change = change
        self.master = change.master
        self.minions = minions
        self.target = target
        self.before = before
        self.earlier = earlier
        self.limits = dict(limits)
        whole = limits.get("total_deadline")
        end = time.monotonic() + whole if isinstance(whole, int | float) else None
        self.work = Work(change, minions, target, CANDIDATE, None, self.limits, end)

    def preflight(self) -> dict[str, Any]:
        """
        Check everything, and find out what would change; touch nothing.

        Raises StepFailed with a sentence for each problem, of all checks together.
        """
        with self.change.step("preflight", "checking what a rollout needs") as step:
            made, reached = preflight.examine(self.work, step)
            for node, warning in preflight.warnings(self.work, reached):
                self.change.warn("preflight", warning, node)
            self.work.plan = made
            # What others have left is ours from now on, to finish or to put back.
            self.change.note(touched=_left_touched(self.master))
            self.change.note(nodes=[node for node, each in made.nodes.items() if each.pending])
            step.did = {
                node: {
                    sls: [each["id"] for each in states] for sls, states in entry.pending.items()
                }
                for node, entry in made.nodes.items()
                if entry.pending
            }
            done: dict[str, Any] = step.did
        return {"release": self.target.release, "revision": self.target.id, "pending": done}

    def stage(self, name: str) -> dict[str, Any]:
        """Do all that the plan has for a stage."""
        if self.work.plan is None:
            raise FleetError("the rollout has not passed its preflight")
        for stage in STAGES:
            if stage.name == name:
                self._run(stage)
                return {
                    "stage": name,
                    "touched": self.change.facts.get("touched", {}).get(name, []),
                }
        raise FleetError(f"there is no stage {name!r}: {', '.join(each.name for each in STAGES)}")

    def _run(self, stage: Stage) -> None:
        try:
            stage.run(self.work)
        except (SaltException, OSError) as error:
            # What fails between two steps is told like a step.
            self.change.failure = self.change.failure or {
                "stage": stage.name,
                "node": None,
                "step": "finding out what to do",
                "reason": sentences(error),
            }
            raise

    def verify(self) -> dict[str, Any]:
        """Count hits through the VIP, and see that every web server has the release."""
        with self.change.step("verify", "counting hits through the VIP") as step:
            step.did = verify(self.master, self.minions, self.target, release=self.target.release)
            done: dict[str, Any] = step.did
        return done

    def finish(self) -> dict[str, Any]:
        """Have the target be the fleet's revision, and end the change."""
        with self.change.step("finish", "noting it as the fleet's revision"):
            revisions.settle(self.target)
            keep = self.limits["revisions_kept"]
            mount = self.target.settings["gluster"]["mount"]
            archive.keep_or_tell(self.target, mount, keep, self._warn)
            revisions.prune(self.master, keep)
            # Older versions kept the fleet's release here.
            (self.master.notes / "release.sls").unlink(missing_ok=True)
        for problem in leaving.finish(self.work):
            self._warn(problem)
        return self._close()

    def _warn(self, text: str) -> None:
        self.change.warn("finish", text)

    def undo(self) -> list[str]:
        """
        Put back the nodes that failed and those that were touched, and end the change.

        Returns what is to be told: what failed, and what could not be put back.
        """
        touched: dict[str, list[str]] = self.change.facts.get("touched", {})
        problems: list[str] = []
        base = revisions.base(self.master)
        arrived = base is not None and base.id == self.target.id and base != self.before
        if arrived:
            # Only its end went wrong; to put nodes back now would be to put them where they are.
            revisions.settle(self.target)
        elif touched and self.before:
            forget_modules(self.minions, self.before, self.target)
            back = Work(self.change, self.minions, self.before, BASE, None, self.limits)
            problems += leaving.turn_away(back, self._entered(touched))
            for stage in reversed(STAGES):
                nodes = [node for node in touched.get(stage.name, []) if node in back.nodes]
                if nodes:
                    problems += stage.back(back, nodes)
            if not problems:
                for node in revisions.moving(self.master):
                    revisions.arrived(self.master, node)
            self.change.undone = not problems
        elif touched:
            problems.append("there is no revision before this one to go back to")
        if not touched and not arrived and self.before:
            forget_modules(self.minions, self.before, self.target)
        _withdraw(self.master, None if touched or arrived else self.earlier)
        failure = self.change.failure or {}
        where = " ".join(filter(None, (failure.get("stage"), failure.get("node"))))
        why = failure.get("reason") or ["a step could not be run: see the steps above"]
        first = ": ".join(filter(None, ("the rollout failed", where, failure.get("step"))))
        said = [f"{first}: {'; '.join(why)}"]
        if self.change.undone and self.before:
            said.append(f"every node is back on revision {self.before.id} ({self.before.release})")
        if arrived:
            said.append(
                f"the fleet is on revision {self.target.id} ({self.target.release}) all the same: "
                "run the same command again, which has nothing left to do, to see that all is well"
            )
        said += [f"not put back: {problem}" for problem in problems]
        self.change.failure = self.change.failure or {
            "stage": None,
            "node": None,
            "step": None,
            "reason": why,
        }
        self.change.note(problems=problems)
        self._close()
        return said

    def _entered(self, touched: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Return the nodes that this rollout touched and that the revision before does not have."""
        assert self.before is not None
        there = {*self.before.topology["nodes"], *self.before.topology["leaving"]}
        reached = {node for nodes in touched.values() for node in nodes} - there
        return {node: entry for node, entry in self.work.nodes.items() if node in reached}

    def _close(self) -> dict[str, Any]:
        if self in _running:
            _running.remove(self)
        return self.change.close()


def begin(
    master: Master,
    given: Mapping[str, Any],
    minions: Minions | None = None,
    listeners: Sequence[Listener] | None = None,
) -> Rollout:
    """
    Take the lock, make the revision that is to be rolled out, and serve it as the candidate.

    given
        What was said to this rollout: some of ``ARGUMENTS`` and ``LIMITS``.
    minions, listeners
        How to reach nodes and whom to tell; the defaults are the master's.

    Raises FleetError for what nobody knows, for an unknown release or revision, and when somebody
    else has the lock; then nothing is open.
    """
    known(given, {*ARGUMENTS, *LIMITS}, "the pillar of orch.rollout")
    if "release" in given and "revision" in given:
        raise FleetError("say a release or a revision, not both: a revision has its release")
    wait = given.get("wait", 0)
    if type(wait) not in (int, float) or wait < 0:
        raise FleetError(f"wait must be a number of seconds, not {wait!r}")
    if listeners is None:
        listeners = audience(master)
    minions = minions or SaltMinions(master)
    kind = "rollback" if "revision" in given else "rollout"
    change = Change(master, kind, wait, tuple(listeners)).open()
    earlier = revisions.candidate(master)
    try:
        before = revisions.base(master) or _recovered(change)
        target = target_of(master, given)
        chosen = limits_of(target, given)
        change.hook = hooks.hook(chosen, change)
        revisions.offer(target)
        change.note(
            **{"from": before.id if before else None, "to": target.id},
            release=target.release,
            previous=before.release if before else releases.current(master),
            changes={},
        )
        change.hook("before", change.entry("begun"))
        rollout = Rollout(change, minions, target, before, chosen, earlier)
    except Exception as error:
        failure = {"stage": "begin", "node": None, "step": "begin"}
        change.failure = {**failure, "reason": sentences(error)}
        _withdraw(master, earlier)
        change.close()
        raise
    _running.append(rollout)
    return rollout


def undo() -> list[str]:
    """Undo the rollout of this process, and return what is to be told; see :meth:`Rollout.undo`."""
    return _running[-1].undo() if _running else ["nothing was begun: see the first step"]


def said(master: Master, pillar: Mapping[str, Any]) -> dict[str, Any]:
    """Return of the pillar of an orchestration what the fleet's own pillar does not have."""

    def text(value: Any) -> str:
        # What a pillar has keeps its order, which the orchestration does not.
        return json.dumps(value, sort_keys=True, default=str)

    own = pillars.of_node(master, [master.state / BASE / "pillar"], master.id)
    return {key: value for key, value in pillar.items() if text(own.get(key)) != text(value)}


def running() -> Rollout:
    """Return the rollout of this process. Raises FleetError when there is none."""
    if not _running:
        current()
        raise FleetError("this process changes the fleet, and not by a rollout")
    return _running[-1]


def _recovered(change: Change) -> Revision | None:
    """Bring back what a new master lacks; returns the revision that the fleet is on, if known."""
    if not archive.noted(change.master)["revisions"]:
        return None
    chosen = pillars.settings(change.master, change.master.pillars)
    found = archive.recover(change.master, chosen["gluster"]["mount"])
    for problem in found.problems:
        change.warn("begin", problem)
    return found.base


def target_of(master: Master, given: Mapping[str, Any]) -> Revision:
    """
    Return the revision that a rollout of these arguments takes the fleet to.

    Raises FleetError for an unknown release or revision, and for a revision that was altered.
    """
    if "revision" in given:
        found = revisions.find(master, str(given["revision"]))
        found.check()
        return found
    return revisions.capture(master, releases.find(master, given.get("release")))


def limits_of(target: Revision, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of ``rollout`` of a revision, with what a command was told on top."""
    found = limits(target)
    said = {key: given[key] for key in LIMITS if key in given}
    if isinstance(said.get("canary"), Mapping):
        said["canary"] = {**found.get("canary", {}), **said["canary"]}
    return {**found, **said, "leaving": given.get("leaving", [])}


def forget_modules(minions: Minions, base: Revision, candidate: Revision) -> None:
    """Give nodes that have loaded a candidate's modules those of ``base`` again."""
    if base.modules != candidate.modules:
        nodes = list(base.topology["nodes"])
        minions.everyone(nodes, "saltutil.sync_all", (), {"saltenv": BASE}, 30)


def _withdraw(master: Master, earlier: Revision | None) -> None:
    """Serve no candidate any more, or the earlier one as long as nodes are on their way to it."""
    if earlier and revisions.moving(master):
        revisions.offer(earlier)
    revisions.withdraw(master)


def _left_touched(master: Master) -> dict[str, list[str]]:
    """Return what changes that died have touched and not put back, by stage."""
    left: dict[str, list[str]] = {}
    moving = revisions.moving(master)
    for id_ in dict.fromkeys(moving.values()):
        for stage, nodes in Journal(master.state, id_).facts().get("touched", {}).items():
            if stage not in {each.name for each in STAGES}:
                continue
            there = left.setdefault(stage, [])
            there += [node for node in nodes if node in moving and node not in there]
    return left


def back_to(master: Master, revision: str | None) -> str:
    """
    Return the ID of the revision that a rollback goes to.

    revision
        Its ID; without one, where a rollout has died, the revision that it began from, else the one
        that the fleet was on before this one.

    Raises FleetError when there is none.
    """
    if revision is not None:
        return revisions.find(master, str(revision)).id
    base = revisions.base(master)
    if base is None:
        raise FleetError("the fleet is on no revision yet: there is nothing to go back to")
    left = _left_unfinished(master)
    if left:
        # One that died before it had noted where it began from has not gone from there either.
        began = Journal(master.state, left).facts().get("from", base.id)
        if began is None:
            raise FleetError(
                f"the change {left}, which has not come to its end, was the first: there is no "
                "revision before it to go back to; run it again"
            )
        return revisions.find(master, began).id
    there = {each.id for each in revisions.kept(master)}
    for entry in _arrivals(master):
        if entry["to"] == base.id and entry["from"] not in (None, base.id):
            if entry["from"] in there:
                return str(entry["from"])
            raise FleetError(
                f"revision {entry['from']} before this one is not kept any more: name one of "
                f"{', '.join(sorted(there - {base.id})) or 'none'}"
            )
    raise FleetError("the fleet was on no other revision before: there is nothing to go back to")


def _left_unfinished(master: Master) -> str | None:
    """Return the ID of the rollout that has died, or has left nodes on their way; or None."""
    ids = list(revisions.moving(master).values())
    held = lock.holder(master.state)
    if held and not held["alive"] and held["kind"] in ("rollout", "rollback"):
        ids.append(held["change"])
    return max(ids, default=None)


def _arrivals(master: Master) -> list[dict[str, Any]]:
    # One that died or failed at its very end has arrived as well. One that did not arrive anywhere
    # does no harm: before the fleet is on its target, another one has taken it there.
    return [entry for entry in history(master.state, 1000) if "to" in entry and "from" in entry]
