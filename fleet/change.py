"""
A change: whatever alters the fleet, from its lock to its line in the history.

    with Change(master, "rollout", to=revision.id) as change:
        with change.step("web", "draining it in every balancer", node="web-1") as step:
            ...
            step.waits("2 sessions left", left=28)

An orchestration calls its steps one by one, in one process: it opens a change with :meth:`open`,
its steps find it with :func:`current`, and the last of them calls :meth:`close`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from salt.exceptions import SaltException

from fleet import lock
from fleet.errors import FleetError, sentences
from fleet.journal import Journal, history, make_id, prune, record
from fleet.master import Master

#: What every change tells, on the master's event bus.
TAG = "counterapp/change"
#: With this pillar, states that may take long tell Salt's event bus when they are done, by this tag
#: (lab/events.py). Each event is a way to the master of its own, a quarter of a second; so who only
#: looks, or has nothing to do, tells nothing.
PROGRESS = {"fire_event": "progress"}
#: Gets each event of a change: ``change`` (ID), ``kind``, ``event`` (as in the journal, and
#: ``waits``), ``time``, and of a step ``stage``, ``node`` (or None), ``step``; with ``waits`` also
#: ``seen`` and ``left`` (seconds, or None), with ``done`` ``did``, with ``fails`` ``reason``; of
#: ``warns`` ``stage``, ``node`` and ``text``; of ``note`` what became known.
Listener = Callable[[dict[str, Any]], None]
#: Is called with ``before``, ``after`` or ``failure``, and the change's line of the history so far.
Hook = Callable[[str, dict[str, Any]], None]

_open: list["Change"] = []


class StepFailed(FleetError):
    """A step could not do its work; ``failure`` has ``stage``, ``node``, ``step``, ``reason``."""

    def __init__(self, failure: dict[str, Any]) -> None:
        where = " ".join(filter(None, (failure["stage"], failure["node"])))
        super().__init__(f"{where}: {failure['step']}: {'; '.join(failure['reason'])}")
        self.failure = failure


class Step:
    """A step that runs."""

    def __init__(self, change: "Change", stage: str, node: str | None, text: str) -> None:
        self._change = change
        self.what = {"stage": stage, "node": node, "step": text}
        #: What it did, in words or as data, for the journal.
        self.did: Any = None

    def waits(self, seen: str, left: float | None = None) -> None:
        """Tell what it waits for, and how many seconds are left."""
        self._change.tell("waits", **self.what, seen=seen, left=left)


class Change:
    """
    A change of the fleet, as a block or from :meth:`open` to :meth:`close`.

    master
        The master whose fleet it is.
    kind
        What sort of change: ``rollout``, ``tls``, ``replace`` …
    wait
        Seconds to wait for the lock of another change.
    listeners
        Whom to tell each event; one that fails breaks nothing.
    hook
        What to call before, after and on failure.
    facts
        What is known of it when it begins: ``from``, ``to``, ``release`` …
    """

    def __init__(
        self,
        master: Master,
        kind: str,
        wait: float = 0,
        listeners: tuple[Listener, ...] = (),
        hook: Hook | None = None,
        **facts: Any,
    ) -> None:
        self.master = master
        self.kind = kind
        self.id = make_id()
        self.journal = Journal(master.state, self.id)
        self.facts: dict[str, Any] = facts
        self.failure: dict[str, Any] | None = None
        self.undone = False
        self.hook = hook
        self._wait = wait
        self._listeners = listeners
        self._resources = contextlib.ExitStack()
        self._begun = 0.0

    # Its course

    def open(self) -> "Change":
        """
        Take the lock and begin the journal.

        Raises FleetError when somebody else has the lock.
        """
        state = self.master.state
        taken = lock.take(state, self.id, self.kind, self._wait, self._say)
        self._begun = time.monotonic()
        with contextlib.ExitStack() as opening:
            opening.callback(lock.release, state)
            if dead := taken["taken_from"]:
                self._bury(dead)
            self.journal.write("begun", kind=self.kind, owner=taken["owner"], **self.facts)
            self._resources.enter_context(lock.beating(state))
            opening.pop_all()
        self.facts = {"kind": self.kind, "owner": taken["owner"], **self.facts}
        self.facts["started"] = taken["since"]
        _open.append(self)
        self.tell("begun", **self.facts)
        return self

    def close(self) -> dict[str, Any]:
        """
        Write the change's line of the history, give the lock back, and return the line.

        It is ``succeeded`` unless :attr:`failure` is set; then ``undone`` or ``failed``.

        Raises OSError when the line cannot be written. Then the lock stays: whoever takes it over,
        once this process has ended, writes the line.
        """
        outcome = "succeeded"
        if self.failure:
            outcome = "undone" if self.undone else "failed"
        entry = self.entry(outcome)
        try:
            self.journal.write("ended", outcome=outcome, failed=self.failure)
            record(self.master.state, entry)
        finally:
            self._resources.close()
            if self in _open:
                _open.remove(self)
        try:
            prune(self.master.state)
            if self.hook:
                self.hook("failure" if self.failure else "after", entry)
        finally:
            lock.release(self.master.state)
        self.tell("ended", **entry)
        return entry

    def __enter__(self) -> "Change":
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self.failure is None:
            reason = getattr(error, "problems", None) or [f"{type(error).__name__}: {error}"]
            self.failure = {"stage": None, "node": None, "step": None, "reason": reason}
        self.close()

    # Its steps

    @contextlib.contextmanager
    def step(self, stage: str, text: str, node: str | None = None) -> Iterator[Step]:
        """
        Do one thing, mostly to one node; the first that fails is what the change failed at.

        Raises StepFailed for every SaltException or OSError of the block.
        """
        step = Step(self, stage, node, text)
        self.journal.write("begins", **step.what)
        self.tell("begins", **step.what)
        try:
            yield step
        except StepFailed as error:
            # A step within this one has told all.
            self.journal.write("fails", **step.what, reason=error.failure["reason"])
            raise
        except (SaltException, OSError) as error:
            failure = {**step.what, "reason": sentences(error)}
            self.failure = self.failure or failure
            self.journal.write("fails", **failure)
            self.tell("fails", **failure)
            raise StepFailed(failure) from error
        self.journal.write("done", **step.what, did=step.did)
        self.tell("done", **step.what, did=step.did)

    def note(self, **facts: Any) -> None:
        """Have facts in the journal, for whoever goes on should this process die."""
        self.facts.update(facts)
        self.journal.write("note", **facts)
        self.tell("note", **{key: value for key, value in facts.items() if not key.startswith("_")})

    def tell(self, event: str, **facts: Any) -> None:
        """Tell every listener; one that cannot hear is none of the change's business."""
        told = {"change": self.id, "time": lock.now(), "event": event, "kind": self.kind, **facts}
        for listener in self._listeners:
            listener(told)

    def warn(self, stage: str, text: str, node: str | None = None) -> None:
        """Tell what somebody should know, and what stops nothing."""
        self.tell("warns", stage=stage, node=node, text=text)

    def _say(self, text: str) -> None:
        self.tell("waits", stage="lock", node=None, step="taking the lock", seen=text, left=None)

    def entry(self, outcome: str) -> dict[str, Any]:
        """Return the change's line of the history."""
        return {
            "id": self.id,
            "outcome": outcome,
            "ended": lock.now(),
            "seconds": round(time.monotonic() - self._begun, 1),
            **{key: value for key, value in self.facts.items() if not key.startswith("_")},
            "failed": self.failure,
        }

    def _bury(self, dead: dict[str, Any]) -> None:
        """Write down what the change of a dead process was at; it could not do that itself."""
        state = self.master.state
        journal = Journal(state, dead["change"])
        if not journal.lines():
            # It had begun nothing, or was only a look at what a rollout would do.
            return
        ended = next((line for line in journal.lines() if line["event"] == "ended"), None)
        if ended and any(entry["id"] == dead["change"] for entry in history(state)):
            return
        if not ended:
            at = journal.at() or {"stage": None, "node": None, "step": None}
            failure = {key: at[key] for key in ("stage", "node", "step")}
            failure["reason"] = [f"its process {dead['pid']} on {dead['host']} died"]
            ended = {"time": lock.now(), "outcome": "failed", "failed": failure}
            journal.write("ended", outcome="failed", failed=failure)
            self.facts["taken_from"] = {**failure, "change": dead["change"], "owner": dead["owner"]}
        # With its end written down it died before its line was, at the worst.
        facts = {k: v for k, v in journal.facts().items() if not k.startswith("_")}
        record(
            state,
            {
                "id": dead["change"],
                "outcome": ended["outcome"],
                "ended": ended["time"],
                "seconds": None,
                **facts,
                "started": dead["since"],
                "failed": ended["failed"],
            },
        )


def current() -> Change:
    """
    Return the change that this process has open.

    Raises FleetError when it has none: a step of an orchestration was called by itself.
    """
    if not _open:
        raise FleetError(
            "no change runs in this process: a step is called by its orchestration, as in "
            "`salt-run state.orchestrate orch.rollout`"
        )
    return _open[-1]
