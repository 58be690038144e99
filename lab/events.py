"""Reads the master's event bus during a rollout, and says in an operator's words what happens."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab import machines
from lab.config import Lab

_TAG = re.compile(r"salt/job/\d+/(?P<kind>ret|prog)/(?P<minion>[^/]+)")
# What the steps of a rollout say of themselves (_utils/fleet.py).
_STEP_TAG = "counterapp/rollout/progress"
_STATE_RUNS = ("state.apply", "state.sls", "state.highstate", "state.single")


def describe(line: str) -> str | None:
    """Return what one line of ``salt-run state.event`` tells an operator, or None.

    :param line: a tag, a tab or space, and the event's data as JSON.
    """
    tag, _, rest = line.strip().partition("\t")
    if not rest:
        tag, _, rest = line.strip().partition(" ")
    match = _TAG.match(tag)
    if not match and tag != _STEP_TAG:
        return None
    try:
        data: dict[str, Any] = json.loads(rest)
    except json.JSONDecodeError:
        return None
    if not match:
        node = data.get("node")
        return f"{node}: {data.get('text')}" if node else str(data.get("text"))
    kind, minion = match["kind"], match["minion"]
    if kind == "ret" and data.get("fun") in _STATE_RUNS:
        return f"{minion}: {_what(data, 'fun_args')} {_outcome(data.get('return'))}"
    if kind == "prog":
        return _state_done(minion, data)
    return None


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

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            text = describe(line)
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
