"""Reads the master's event bus during a rollout, and says in an operator's words what happens."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fleet.change import PROGRESS, TAG
from fleet.words import Words, count
from lab import machines
from lab.config import Lab

_TAG = re.compile(
    r"salt/job/(?P<jid>\d+)/(?P<kind>new|ret)(?:/(?P<minion>[^/]+))?"
    rf"|salt/state_result/(?P<run>\d+)/(?P<node>[^/]+)/{PROGRESS['fire_event']}"
)
_STATE_RUNS = ("state.apply", "state.sls", "state.highstate", "state.single")


class Teller:
    """Says in an operator's words what the lines of ``salt-run state.event`` tell."""

    def __init__(self) -> None:
        self._words: dict[str, Words] = {}
        # Jobs that only look at what would change.
        self._looking: set[str] = set()

    def describe(self, line: str) -> str | None:
        """Return what a line tells an operator, or None.

        :param line: a tag, a tab or space, and the event's data as JSON.
        """
        tag, _, rest = line.strip().partition("\t")
        if not rest:
            tag, _, rest = line.strip().partition(" ")
        match = _TAG.match(tag)
        if not match and tag != TAG:
            return None
        try:
            data: dict[str, Any] = json.loads(rest)
        except json.JSONDecodeError:
            return None
        if not match:
            return self._words.setdefault(data["change"], Words()).line(data)
        if match["run"]:
            looks = match["run"] in self._looking
            return None if looks else _state_done(match["node"], data)
        kind, minion, looks = match["kind"], match["minion"], match["jid"] in self._looking
        if kind == "new" and data.get("fun") in _STATE_RUNS and _is_test(data.get("arg")):
            self._looking.add(match["jid"])
        if kind == "ret" and data.get("fun") in _STATE_RUNS:
            if looks or _is_test(data.get("fun_args")):
                return f"{minion}: {_looked_at(data.get('return'))}"
            return f"{minion}: {_what(data, 'fun_args')} {_outcome(data.get('return'))}"
        return None


def _is_test(arguments: Any) -> bool:
    return any(isinstance(each, dict) and each.get("test") is True for each in arguments or [])


def _what(data: dict[str, Any], key: str = "arg") -> str:
    names = [
        ", ".join(argument) if isinstance(argument, list) else argument
        for argument in data.get(key) or []
        if isinstance(argument, str | list)
    ]
    return f"applying {names[0]}" if names else "applying its highstate"


def _outcome(returned: Any) -> str:
    if not isinstance(returned, dict):
        return "failed"
    failed = [s for s in returned.values() if isinstance(s, dict) and s.get("result") is False]
    changed = [s for s in returned.values() if isinstance(s, dict) and s.get("changes")]
    if failed:
        return f"failed: {failed[0].get('name')}"
    return f"done, {len(changed)} of {len(returned)} states changed"


def _looked_at(returned: Any) -> str:
    if not isinstance(returned, dict):
        return "looked at: its states do not render"
    states = [each for each in returned.values() if isinstance(each, dict)]
    # One that fails when it is only looked at wants something that an earlier one would make.
    changing = [each for each in states if not each.get("result")]
    return f"looked at: {count(len(changing), 'state')} would change"


def _state_done(minion: str, data: dict[str, Any]) -> str | None:
    state = (data.get("data") or {}).get("ret") or {}
    if state.get("result") is False:
        return f"{minion}: {state.get('__id__') or state.get('name')} failed"
    # Half a second is what an operator notices; quicker states would only fill the screen.
    if float(state.get("duration") or 0) > 500 and state.get("changes"):
        return f"{minion}: {state.get('__id__') or state.get('name')}"
    return None


@contextmanager
def follow(lab: Lab, say: Callable[[str], None]) -> Iterator[None]:
    """Hand every telling event of the master's bus to ``say`` for as long as the block runs."""
    process = machines.popen_on_node(lab, lab.master.id, ["salt-run", "state.event"])

    teller = Teller()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            text = teller.describe(line)
            if text:
                say(text)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield
    finally:
        process.terminate()
        process.wait()
        reader.join(timeout=5)
        # Ending `podman exec` leaves the command in the node running.
        machines.on_node(lab, lab.master.id, ["pkill", "-f", "salt-run state.event"], check=False)
