"""What a rollout takes beyond the work itself: the controller's share, by the journal's times.

    bench/rollout                 # the running lab, without traffic: three rollouts

The work itself is done by hand on the same nodes in the same run: the service restarted until it is
ready, mongod until it is a secondary again, and, for a rollout with nothing to do, a dry run of the
highstate on all nodes. Web servers and members are changed by a setting each, there and back. Ends
with 1 when something takes more than is wanted of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lab import config, engine, machines
from lab.config import ROOT, Lab, LabError

STATE = "/var/lib/counterapp"
PYTHON = "/opt/salt/bin/python"
#: What is changed, by the pillar's file: a setting that is no matter to a benchmark.
SETTINGS = {"web": "waiting", "mongodb": "cache_gb"}
#: Seconds for which a web server is held; said to each rollout.
HELD = 1.0
#: Seconds that are wanted at most, beyond the work itself or in all.
WANTED = {"a web server": 4.0, "a database member": 10.0, "nothing to do": 30.0}
#: Run on the node: tells how long a restart takes until {done} says so.
_RESTART = """
import subprocess, sys, time, urllib.error, urllib.request

def ready(began):
    try:
        with urllib.request.urlopen("http://{address}:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False

def secondary(began):
    words = ["journalctl", "--unit", "mongod", "--output", "cat", "--since", f"@{{began:.6f}}"]
    return '"newState":"SECONDARY"' in subprocess.run(words, capture_output=True, text=True).stdout

began, clock = time.time(), time.monotonic()
subprocess.run(["systemctl", "restart", "{unit}"], check=True)
while not {done}(began):
    if time.monotonic() - clock > 120:
        sys.exit("{unit} was restarted, and is not back after two minutes")
    time.sleep(0.05)
print(time.monotonic() - clock)
"""


@dataclass(frozen=True)
class Step:
    """A step that was done; times in seconds since 1970."""

    stage: str
    node: str | None
    began: float
    ended: float


def steps(lines: list[dict[str, Any]]) -> list[Step]:
    """Return the steps that a journal's lines tell, in the order in which they ended."""
    under_way: list[dict[str, Any]] = []
    found = []
    for line in lines:
        if line["event"] == "begins":
            under_way.append(line)
        elif line["event"] in ("done", "fails"):
            begun = under_way.pop()
            if line["event"] == "done":
                found.append(Step(line["stage"], line["node"], begun["at"], line["at"]))
    return found


def taken(done: list[Step], stage: str) -> dict[str, float]:
    """Return how long a stage was at each node, from its first step to its last, by node.

    A node of which it did nothing but look is left out: it has one step only.
    """
    nodes: dict[str, list[Step]] = {}
    for step in done:
        if step.stage == stage and step.node:
            nodes.setdefault(step.node, []).append(step)
    return {
        node: max(each.ended for each in them) - min(each.began for each in them)
        for node, them in nodes.items()
        if len(them) > 2
    }


@dataclass(frozen=True)
class Share:
    """How long something took in a rollout, and how long the work itself takes by hand."""

    name: str
    node: str
    took: float
    by_hand: float

    @property
    def beyond(self) -> float:
        return self.took - self.by_hand

    @property
    def ratio(self) -> float:
        return self.took / self.by_hand


class Bench:
    """Rollouts of a lab that runs, and what they took."""

    def __init__(self, lab: Lab) -> None:
        """:raises LabError: a node of the lab does not run, or the fleet has had no rollout yet."""
        self._lab = lab
        for node in lab.nodes:
            machines.require_running(lab, node.id)
        if "base" not in self._on(lab.master.id, "ls", STATE).split():
            raise LabError("This lab has had no rollout yet: run 'make up'.")

    def idle(self) -> Share:
        """Roll out what is there already.

        :raises LabError: the rollout fails, or changes something.
        """
        began = time.monotonic()
        self._on(self._lab.master.id, "salt", "*", "state.apply", "test=True", "--out=json")
        by_hand = time.monotonic() - began
        took, lines = self._rollout()
        if touched := next((line["touched"] for line in lines if line.get("touched")), None):
            raise LabError(
                f"There was something to do ({touched}); there is not any more: try again."
            )
        return Share("nothing to do", "the fleet", took, by_hand)

    def changes(self) -> Iterator[Share]:
        """Change a setting of web servers and members, and change it back.

        :raises LabError: a rollout fails; the lab's own settings are as they were then.
        """
        by_hand = {}
        for node in self._lab.nodes:
            if "web" in node.roles:
                by_hand["web", node.id] = self._restart(node.id, "counterapp", "ready") + HELD
        with self._settings():
            journals = [self._rollout()[1]]
        journals.append(self._rollout()[1])
        # Each member in turn, and the primary after it was touched last: it is no primary now.
        for node in self._lab.nodes:
            if "db" in node.roles:
                by_hand["db", node.id] = self._restart(node.id, "mongod", "secondary")
        for lines in journals:
            done = steps(lines)
            for stage, name in (("web", "a web server"), ("db", "a database member")):
                for id_, seconds in taken(done, stage).items():
                    yield Share(name, id_, seconds, by_hand[stage, id_])

    def _restart(self, node: str, unit: str, done: str) -> float:
        code = _RESTART.format(
            unit=unit, done=done, address=self._lab.node(node).address, port=8000
        )
        return float(self._on(node, PYTHON, "-c", code))

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """Have the lab's own pillar differ from what was rolled out, inside the ``with``."""
        folder = self._lab.directory / "pillar"
        before: dict[Path, str | None] = {}
        try:
            for part, key in SETTINGS.items():
                own = folder / f"{part}.sls"
                before[own] = own.read_text() if own.exists() else None
                own.write_text(
                    changed(before[own] or (ROOT / f"pillar/{part}.sls").read_text(), key)
                )
            yield
        finally:
            for own, text in before.items():
                if text is None:
                    own.unlink(missing_ok=True)
                else:
                    own.write_text(text)

    def _rollout(self) -> tuple[float, list[dict[str, Any]]]:
        """Roll out; returns the seconds that the command took, and its journal."""
        told = {"canary": {"enabled": False}, "min_healthy_time": HELD}
        command = ["salt-run", "state.orchestrate", "orch.rollout", f"pillar={json.dumps(told)}"]
        began = time.monotonic()
        self._on(self._lab.master.id, *command)
        took = time.monotonic() - began
        newest = self._on(self._lab.master.id, "sh", "-c", f"ls {STATE}/changes | tail -1").strip()
        text = self._on(self._lab.master.id, "cat", f"{STATE}/changes/{newest}")
        return took, [json.loads(line) for line in text.splitlines()]

    def _on(self, node: str, *command: str) -> str:
        return machines.on_node(self._lab, node, list(command))


def changed(text: str, key: str) -> str:
    """Return a pillar file's text with a number in it a little larger.

    :raises LabError: there is no such number.
    """

    def larger(match: re.Match[str]) -> str:
        number = match["number"]
        more = f"{float(number) + 0.01:.2f}" if "." in number else str(int(number) + 1)
        return f"{match['key']}{more}"

    pattern = rf"^(?P<key> +{key}: *)(?P<number>[0-9.]+)"
    made, count = re.subn(pattern, larger, text, count=1, flags=re.MULTILINE)
    if not count:
        raise LabError(f"The pillar has no number {key} that could be changed for a moment.")
    return made


def report(shares: list[Share]) -> list[str]:
    """Print what was found beside what is wanted; returns a sentence for each that is too much."""
    late = []
    print("\nMedians of this run, the work itself by hand in the same run:")
    for name, wanted in WANTED.items():
        found = [share for share in shares if share.name == name]
        if not found:
            continue
        # With nothing to do all of it is the controller's.
        whole = name == "nothing to do"
        value = median(share.took if whole else share.beyond for share in found)
        took, by_hand = (median(getattr(s, key) for s in found) for key in ("took", "by_hand"))
        print(
            f"  {name:18} {took:6.1f} s, by hand {by_hand:6.1f} s, ratio {took / by_hand:5.2f}; "
            f"{'in all' if whole else 'beyond'} {value:5.1f} s, wanted at most {wanted:g} s"
        )
        if value > wanted:
            late.append(f"{name}: {value:.1f} s, and {wanted:g} s are wanted")
    return late


def main(arguments: list[str] | None = None) -> int:
    """Run ``bench/rollout``; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="bench/rollout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--idle", action="store_true", help="only a rollout with nothing to do, which is short"
    )
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        lab = config.load()
        engine.check_route(lab, lab.vip)
        bench = Bench(lab)
        print(f"the lab '{lab.name}'; load of this machine before: {os.getloadavg()[0]:.1f}")
        shares = [bench.idle()]
        if not options.idle:
            shares += bench.changes()
    except LabError as error:
        print(f"bench/rollout: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    for share in shares:
        print(
            f"  {share.node:10} {share.name:18} {share.took:6.1f} s, by hand {share.by_hand:6.1f} s"
        )
    late = report(shares)
    if options.json:
        document = [{**share.__dict__, "beyond": share.beyond} for share in shares]
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    for sentence in late:
        print(f"bench/rollout: {sentence}", file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
