"""What it takes to find out that there is nothing to do, beside what it takes to ask at all.

    bench/converge                # the running lab, without traffic: five rounds
    bench/converge --rounds 1     # a quick look

The floor is measured in the same round: `test.ping`, a job that does nothing, and `true` in all
nodes at once, without Salt. Prints medians, what each is in units of the first, and the processor
time that the nodes had for it. Ends with 1 when something takes more than is wanted of it. A round
in which something changes is none: then there was something to do.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import groups
from lab import config, engine, machines
from lab.config import Lab, LabError

PING = "a job that does nothing"
TRUE = "`true` in all nodes at once"


@dataclass(frozen=True)
class Wanted:
    """What something may take at most: seconds, and seconds of the nodes' processors."""

    seconds: float
    processor: float | None = None


#: By name, in the order in which they are measured.
WANTED = {
    "converging all nodes": Wanted(5, 9),
    "converging a web server": Wanted(2),
    "converging a database member": Wanted(3),
    "rollout.plan": Wanted(12),
    "rollout with nothing to do": Wanted(20),
    "fleet.status": Wanted(3),
}
#: MiB of all nodes together, without the page cache.
WANTED_MEMORY = 3584.0


@dataclass(frozen=True)
class Taken:
    """How long something took once, and how long the nodes' processors worked meanwhile."""

    name: str
    seconds: float
    processor: float


class Bench:
    """The nodes of a lab that runs, and what is asked of them."""

    def __init__(self, lab: Lab) -> None:
        """:raises LabError: a node of the lab does not run, or cannot be measured."""
        self._lab = lab
        for node in lab.nodes:
            machines.require_running(lab, node.id)
        self._groups = {node.id: self._folders(node.id) for node in lab.nodes}

    def round(self) -> list[Taken]:
        """Measure everything once.

        :raises LabError: a command fails, or there was something to do.
        """
        web, db = (self._first(role) for role in ("web", "db"))
        asks: dict[str, Callable[[], None]] = {
            PING: lambda: self._run("salt", "*", "test.ping"),
            TRUE: self._true,
            "converging all nodes": lambda: self._converge("*"),
            "converging a web server": lambda: self._converge(web),
            "converging a database member": lambda: self._converge(db),
            "rollout.plan": lambda: self._run("salt-run", "rollout.plan", "--out=json"),
            "rollout with nothing to do": self._rollout,
            "fleet.status": lambda: self._run("salt-run", "fleet.status", "--out=json"),
        }
        return [self._taken(name, ask) for name, ask in asks.items()]

    def memory(self) -> dict[str, float]:
        """Return the MiB that each node uses, without the page cache."""
        return {node: groups.memory(there) for node, there in self._groups.items()}

    def _taken(self, name: str, ask: Callable[[], None]) -> Taken:
        before, began = self._processor(), time.monotonic()
        ask()
        seconds = time.monotonic() - began
        return Taken(name, seconds, self._processor() - before)

    def _processor(self) -> float:
        return sum(map(groups.processor_seconds, self._groups.values()))

    def _folders(self, node: str) -> dict[str, Path]:
        [told] = json.loads(engine.podman("container", "inspect", f"{self._lab.name}-{node}"))
        return groups.folders(Path(f"/proc/{told['State']['Pid']}/cgroup").read_text())

    def _first(self, role: str) -> str:
        return next(node.id for node in self._lab.nodes if role in node.roles)

    def _true(self) -> None:
        nodes = [node.id for node in self._lab.nodes]
        with ThreadPoolExecutor(len(nodes)) as threads:
            list(threads.map(lambda node: machines.on_node(self._lab, node, ["true"]), nodes))

    def _converge(self, target: str) -> None:
        # Not `--static`, which is a batch and asks `test.ping` first.
        returned = self._on("salt", target, "state.apply", "--out=json")
        if busy := changed(returned):
            raise LabError(
                f"There was something to do ({'; '.join(busy)}); there is not any more: try again."
            )

    def _rollout(self) -> None:
        told = json.dumps({"canary": {"enabled": False}})
        self._on("salt-run", "state.orchestrate", "orch.rollout", f"pillar={told}")

    def _run(self, *command: str) -> None:
        self._on(*command)

    def _on(self, *command: str) -> str:
        return machines.on_node(self._lab, self._lab.master.id, list(command))


def changed(returned: str) -> list[str]:
    """Return the states that changed something, as ``node: state``, from ``salt``'s JSON.

    :param returned: a document for each node, one behind the other.
    :raises LabError: a node returned no states.
    """
    decoder, text, found = json.JSONDecoder(), returned.strip(), []
    while text:
        try:
            document, end = decoder.raw_decode(text)
        except json.JSONDecodeError as error:
            raise LabError(f"salt did not answer in JSON: {text[:300]!r}") from error
        text = text[end:].lstrip()
        for node, states in document.items():
            if not isinstance(states, dict):
                raise LabError(f"{node} applied no states: {states}")
            found += [f"{node}: {s['__id__']}" for s in states.values() if s.get("changes")]
    return found


def medians(taken: list[Taken]) -> dict[str, Taken]:
    """Return of each name the medians of its seconds, in the order in which names come first."""
    names = dict.fromkeys(each.name for each in taken)
    return {
        name: Taken(
            name,
            median(each.seconds for each in taken if each.name == name),
            median(each.processor for each in taken if each.name == name),
        )
        for name in names
    }


def report(taken: list[Taken], memory: dict[str, float]) -> list[str]:
    """Print what was found beside what is wanted; returns a sentence for each that is too much."""
    late = []
    found = medians(taken)
    floor = found[PING].seconds
    print(f"\nMedians; times are also in units of {PING}, in the same run:")
    for name, each in found.items():
        wanted = WANTED.get(name)
        words = f"  {name:30} {each.seconds:6.2f} s = {each.seconds / floor:5.1f}"
        words += f"; {each.processor:6.2f} s of processors"
        if wanted:
            words += f"; wanted at most {wanted.seconds:g} s"
            if each.seconds > wanted.seconds:
                late.append(f"{name}: {each.seconds:.2f} s, and {wanted.seconds:g} s are wanted")
        if wanted and wanted.processor:
            words += f", {wanted.processor:g} s of processors"
            if each.processor > wanted.processor:
                late.append(
                    f"{name}: {each.processor:.2f} s of processors, and {wanted.processor:g} s are "
                    "wanted"
                )
        print(words)
    whole = sum(memory.values())
    print(
        f"  memory without the page cache  {whole:6.0f} MiB, wanted at most {WANTED_MEMORY:g} MiB: "
        + ", ".join(f"{node} {mib:.0f}" for node, mib in memory.items())
    )
    if whole > WANTED_MEMORY:
        late.append(f"memory: {whole:.0f} MiB, and {WANTED_MEMORY:g} MiB are wanted")
    return late


def main(arguments: list[str] | None = None) -> int:
    """Run ``bench/converge``; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="bench/converge",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        bench = Bench(config.load())
        print(f"load of this machine before: {os.getloadavg()[0]:.1f}")
        taken: list[Taken] = []
        for number in range(1, options.rounds + 1):
            done = bench.round()
            told = ", ".join(f"{each.seconds:.2f}" for each in done)
            print(f"round {number} of {options.rounds}, in the order below: {told} s")
            taken += done
        memory = bench.memory()
    except LabError as error:
        print(f"bench/converge: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    late = report(taken, memory)
    if options.json:
        document: dict[str, Any] = {"taken": [each.__dict__ for each in taken], "memory": memory}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    for sentence in late:
        print(f"bench/converge: {sentence}", file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
