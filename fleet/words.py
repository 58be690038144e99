"""The events of a change in an operator's words."""

import re
from datetime import datetime
from typing import Any

#: Seconds between two lines about what the same step waits for.
_WAITS = 5.0
#: A step that took so many seconds is told to be done, one that was quicker is not.
LONG = 5.0
#: Events that are no steps, and are to be read to the end of the change and after it.
STAYS = ("warns", "hook")
_NUMBER = re.compile(r"\d+(\.\d+)?")


def duration(seconds: float) -> str:
    """Return a time in words: ``28 s``, ``3 min 20 s``, ``5 h 12 min``, ``3 d 4 h``."""
    whole = max(round(seconds), 0)
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {below}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def at(event: dict[str, Any]) -> float:
    """Return when an event was, in seconds since 1970."""
    return datetime.fromisoformat(event["time"]).timestamp()


def name(event: dict[str, Any]) -> str:
    """Return the kind and the ID of an event's change."""
    return f"{event['kind']} {event['change']}"


def target(event: dict[str, Any]) -> str:
    """Return what a change is about, as far as the event tells: ``, release 1.4.0``."""
    words = f" of {event['secret']}" if event.get("secret") else ""
    if event.get("release"):
        words += f", release {event['release']}"
    if event.get("to"):
        words += f", revision {event['to']}"
        if event.get("from") not in (None, event["to"]):
            words += f" after {event['from']}"
    return words


def ended(event: dict[str, Any]) -> str:
    """Return in a sentence how a change ended, and at what when it failed."""
    words = {"undone": "failed and was undone"}.get(event["outcome"], event["outcome"])
    words = f"{name(event)} {words}"
    if event.get("seconds") is not None:
        words += f" after {duration(event['seconds'])}"
    if changes := event.get("changes"):
        words += f", {count(sum(changes.values()), 'state')} changed on "
        words += count(len(changes), "node")
    return f"{words}: {failure(event['failed'])}" if event.get("failed") else words


def count(number: int, thing: str) -> str:
    """Return a number of things, in the right number of the word."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def failure(failed: dict[str, Any]) -> str:
    """Return at what a change failed, and why."""
    where = [failed["node"], failed["stage"], failed["step"]]
    return ": ".join(filter(None, [*where, "; ".join(failed["reason"])]))


def done(event: dict[str, Any]) -> str | None:
    """Return what a step did, in words; None where it is only data for the journal."""
    did = event.get("did")
    if isinstance(did, str):
        return did
    if not isinstance(did, dict) or not did or not all(isinstance(v, dict) for v in did.values()):
        return None
    if event["stage"] == "preflight":
        return _would_change(did)
    if not all("changed" in each and "states" in each for each in did.values()):
        return None
    changed = sum(len(each["changed"]) for each in did.values())
    return f"{changed} of {count(sum(each['states'] for each in did.values()), 'state')} changed"


def _would_change(did: dict[str, dict[str, Any]]) -> str | None:
    # What was only looked at must not read as if it had been applied.
    pending = {node: sum(map(len, each.values())) for node, each in did.items() if any(each)}
    if not pending:
        return "nothing would change"
    nodes = count(len(pending), "node")
    return f"{count(sum(pending.values()), 'state')} would change on {nodes}"


def seen(event: dict[str, Any], left: float | None) -> str:
    """Return what a step waits for, and how much time is left for it."""
    return f"{event['seen']}, {duration(left)} left" if left is not None else str(event["seen"])


def _said(event: dict[str, Any]) -> str | None:
    if event["event"] == "warns":
        return ": ".join(filter(None, (event.get("node"), event.get("stage"), event["text"])))
    # The journal has also those that went well.
    reason = event.get("reason")
    return f"hook {event['hook']} ({event['moment']}): failed: {reason}" if reason else None


class Words:
    """
    The events of a change in an operator's words, a line for each that matters.

    It remembers when steps began and what was said of them, so each change wants one of its own.
    """

    def __init__(self) -> None:
        self._began: dict[tuple[Any, ...], float] = {}
        self._said: dict[tuple[Any, ...], tuple[str, float]] = {}

    def line(self, event: dict[str, Any]) -> str | None:
        """Return the line of an event, or None where there is nothing worth a line."""
        kind = event["event"]
        if kind == "begun":
            return f"{name(event)} of {event.get('owner', 'somebody')} begins{target(event)}"
        if kind == "note":
            return f"{name(event)}{target(event)}" if event.get("to") else None
        if kind in STAYS:
            return _said(event)
        if kind == "ended":
            return ended(event)
        if kind not in ("begins", "waits", "done", "fails"):
            return None
        step = (event["stage"], event["node"], event["step"])
        where = ": ".join(filter(None, (event["node"], event["stage"], event["step"])))
        now = at(event)
        if kind == "begins":
            self._began[step] = now
            self._said.pop(step, None)
            return where
        if kind == "waits":
            # Something else is told at once, a number that runs down now and then.
            gist = _NUMBER.sub("0", event["seen"])
            before, when = self._said.get(step, ("", 0.0))
            if gist == before and now - when < _WAITS:
                return None
            self._said[step] = gist, now
            return f"{where}: {seen(event, event.get('left'))}"
        took = now - self._began.pop(step, now)
        if kind == "fails":
            return f"{where}: failed: {'; '.join(event['reason'])}"
        did = done(event)
        if did is None and took < LONG:
            return None
        after = f"done after {duration(took)}" if took >= LONG else "done"
        return f"{where}: {after}{f', {did}' if did else ''}"
