"""How a change looks while it runs: a line a node on a terminal, a line an event elsewhere."""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, TextIO

from fleet import bus, lock
from fleet.change import Listener
from fleet.errors import FleetError
from fleet.journal import Journal
from fleet.master import Master
from fleet.words import LONG, STAYS, Words, at, count, done, duration, ended, failure, seen, target
from fleet.words import name as name_of

#: Seconds between two drawings of a terminal's lines, on which time left runs down.
_TICK = 1.0
_RUNS, _DONE, _FAILED = "runs", "done", "failed"
_MARKS = {_RUNS: "▸", _DONE: "✓", _FAILED: "✗"}
_PLAIN_MARKS = {_RUNS: ">", _DONE: "+", _FAILED: "!"}
_COLOURS = {_RUNS: "33", _DONE: "32", _FAILED: "31"}


def drawable(stream: TextIO) -> bool:
    """Return whether lines of a stream can be drawn again: it is a terminal that can do it."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def paint(text: str, colour: str) -> str:
    """Return a text in a colour of ANSI, unless the environment has ``NO_COLOR``."""
    return text if os.environ.get("NO_COLOR") else f"\033[{colour}m{text}\033[0m"


@dataclass
class _Line:
    """What a node is at, or the change itself: the steps that have begun, the innermost last."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    #: What the innermost step waits for.
    waits: dict[str, Any] | None = None
    #: The last event, when no step is under way.
    last: dict[str, Any] | None = None

    def take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "begins":
            self.steps.append(event)
        elif kind == "waits":
            # What is heard late is of a step that is over, and all else of the lock.
            if event["stage"] == "lock" or any(_same(step, event) for step in self.steps):
                self.waits = event
            return
        elif kind == "done":
            self.steps = [step for step in self.steps if not _same(step, event)]
        else:
            self.steps = []
        self.waits, self.last = None, event

    @property
    def state(self) -> str:
        if self.steps or self.waits:
            return _RUNS
        return _FAILED if self.last and self.last["event"] == "fails" else _DONE

    def words(self, now: float) -> tuple[str, str]:
        """Return the stage, and what is done there now or was done last."""
        step = self.waits or (self.steps[-1] if self.steps else self.last)
        if step is None:
            return "", ""
        text = step["step"]
        if self.waits:
            left = self.waits.get("left")
            text += f": {seen(step, None if left is None else left - (now - at(step)))}"
        elif self.steps and now - at(step) >= LONG:
            text += f", for {duration(now - at(step))}"
        elif step["event"] == "fails":
            text += f": {'; '.join(step['reason'])}"
        elif step["event"] == "done" and (did := done(step)):
            text += f": {did}"
        return step["stage"], " ".join(text.split())


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[key] == other[key] for key in ("stage", "node", "step"))


class Screen:
    """
    A listener of a change (:data:`fleet.change.Listener`) that shows it.

    stream
        Where to: on a terminal a line a node and one for the change, drawn again in place, in
        colours unless the environment has ``NO_COLOR``; on anything else, and where ``TERM`` is
        ``dumb``, a plain line for each event that matters.
    now
        The clock that events are timed by.

    It ends with the change's end; as a block it ends with that.
    """

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.time) -> None:
        self._stream = stream
        self._now = now
        self._live = drawable(stream)
        self._words = Words()
        self._change: dict[str, Any] | None = None
        self._end: dict[str, Any] | None = None
        self._whole = _Line()
        self._nodes: dict[str, _Line] = {}
        self._drawn = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None
        unicode = (stream.encoding or "").lower().replace("-", "").startswith("utf")
        self._marks = _MARKS if unicode else _PLAIN_MARKS

    def __call__(self, event: dict[str, Any]) -> None:
        """Show an event. A stream that nobody reads any more breaks no change."""
        with contextlib.suppress(OSError), self._lock:
            if self._live:
                self._take(event)
                # A warning stays, above what is drawn again.
                self._draw(self._words.line(event) if event["event"] in STAYS else None)
            elif line := self._words.line(event):
                print(line, file=self._stream, flush=True)
        if event["event"] == "ended":
            self._over.set()
        elif self._live and self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, daemon=True, name="screen")
            self._ticker.start()

    def close(self) -> None:
        """Draw no more."""
        self._over.set()
        if self._ticker:
            self._ticker.join()

    def __enter__(self) -> "Screen":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tick(self) -> None:
        while not self._over.wait(_TICK):
            with contextlib.suppress(OSError), self._lock:
                self._draw()

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        self._change = self._change or event
        if kind == "begun":
            self._change = event
            # Nobody waits for the lock any more.
            self._whole = _Line()
        elif kind == "note":
            known: dict[str, Any] = {k: event[k] for k in ("release", "to", "from") if k in event}
            self._change = {**self._change, **known}
        elif kind == "ended":
            self._end = event
        elif kind in ("begins", "waits", "done", "fails"):
            for name in (event["node"] or "").split(", "):
                line = self._nodes.setdefault(name, _Line()) if name else self._whole
                line.take(event)

    def _draw(self, above: str | None = None) -> None:
        columns, rows = shutil.get_terminal_size()
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(self._stream.fileno())
            # One that does not know its size says 0.
            columns, rows = size.columns or columns, size.lines or rows
        # A line that wraps, or one below the last, would not be where it is looked for.
        lines = list(self._lines(max(columns, 20), max(rows - 1, 2)))
        up = f"\033[{self._drawn}F" if self._drawn else ""
        end = "".join(f"{line}\033[K\n" for line in lines)
        if above:
            end = f"{paint(above, _COLOURS[_RUNS])}\033[K\n{end}"
        self._stream.write(f"{up}{end}\033[J")
        self._stream.flush()
        self._drawn = len(lines)

    def _lines(self, width: int, height: int) -> Iterator[str]:
        now = self._now()
        yield self._first(now, width)
        # What is done to no node in particular has a line as long as it is done.
        whole = {"fleet": self._whole} if self._whole.state != _DONE or not self._nodes else {}
        lines = {**whole, **self._nodes}
        shown = list(lines)
        if self._end and self._end.get("failed"):
            height -= 1
        if len(shown) > height - 1:
            rank = {_FAILED: 0, _RUNS: 1, _DONE: 2}
            urgent = sorted(shown, key=lambda name: rank[lines[name].state])
            shown = [name for name in shown if name in urgent[: max(height - 2, 1)]]
        names = max(map(len, shown), default=0)
        told = {name: lines[name].words(now) for name in shown}
        stages = max((len(stage) for stage, _text in told.values()), default=0)
        for name, (stage, text) in told.items():
            if text:
                line = f" {name:<{names}}  {stage:<{stages}}  {text}"
                yield self._marked(lines[name].state, line, width)
        if hidden := len(lines) - len(shown):
            yield f"  and {count(hidden, 'node')} more"
        if self._end and self._end.get("failed"):
            # In full, for it is what has to be read; it is the last that is drawn.
            yield paint(failure(self._end["failed"]), _COLOURS[_FAILED])

    def _first(self, now: float, width: int) -> str:
        if self._end:
            good = self._end["outcome"] == "succeeded"
            line = f" {ended({**self._end, 'failed': None})}"
            return self._marked(_DONE if good else _FAILED, line, width)
        assert self._change is not None
        # The time first: what does not fit is cut off.
        text = f"{name_of(self._change)}, {duration(now - at(self._change))}{target(self._change)}"
        return self._marked(_RUNS, f" {text}", width)

    def _marked(self, state: str, line: str, width: int) -> str:
        room = width - 2
        cut = line if len(line) <= room else f"{line[: room - 1]}…"
        if self._marks is _PLAIN_MARKS:
            cut = line[:room]
        return paint(self._marks[state], _COLOURS[state]) + cut


# Whoever wants to see a change that runs


def audience(master: Master) -> tuple[Listener, ...]:
    """Return who hears of a change that a command makes: the event bus, and who looks at it."""
    return bus.Bus(master), Screen(sys.stderr)


def watch(master: Master, stream: TextIO | None = None) -> str | dict[str, Any]:
    """
    Show the change that runs, from its beginning until it ends.

    stream
        As for :class:`Screen`; standard error unless given.

    Returns how it ended: ``id``, ``outcome`` and what it noted of itself; a sentence when none
    runs.

    Raises FleetError when the change has failed, was undone, or its process died.
    """
    # What is told between the last look at the journal and the next wakes this up.
    with bus.events(master) as heard:
        holder = lock.holder(master.state)
        if not holder or not holder["alive"]:
            return "no change runs now: `salt-run rollout.history` lists those that have ended"
        journal = Journal(master.state, holder["change"])
        end = _follow(master, journal, holder, heard, stream or sys.stderr)
    if end["outcome"] != "succeeded":
        raise FleetError(ended(end))
    noted = {key: value for key, value in journal.facts().items() if not key.startswith("_")}
    return {"id": journal.id, **noted, "outcome": end["outcome"]}


def _follow(
    master: Master,
    journal: Journal,
    holder: dict[str, Any],
    heard: Iterator[dict[str, Any] | None],
    stream: TextIO,
) -> dict[str, Any]:
    """Show a change by its journal, and what it waits for by what is heard; return its end."""
    same = {"change": journal.id, "kind": holder["kind"]}
    seen = 0
    with Screen(stream) as screen:
        while True:
            present = lock.holder(master.state)
            lives = present and present["change"] == journal.id and present["alive"]
            # Read after the look at the lock: what has ended meanwhile is in it.
            lines = journal.lines()
            for line in lines[seen:]:
                event = {**line, **same}
                if line["event"] == "ended":
                    began = datetime.fromisoformat(holder["since"])
                    took = datetime.fromisoformat(line["time"]) - began
                    event["seconds"] = took.total_seconds()
                    event["changes"] = journal.facts().get("changes")
                screen(event)
                if line["event"] == "ended":
                    return event
            seen = len(lines)
            if not lives:
                raise FleetError(
                    f"the process {holder['pid']} of the change {journal.id} died before its end: "
                    "run the same command again to go on, or `salt-run rollout.rollback` to undo it"
                )
            told = next(heard)
            if told and told["event"] == "waits" and told["change"] == journal.id:
                screen(told)
