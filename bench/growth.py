"""What more minions cost: the same questions to fleets of 8, 16, 32 and 64, each with its master.

    bench/growth                           # about a quarter of an hour
    bench/growth --minions 8 16 --rounds 1 # a quick look

Master, minions, commands, revisions, pillar, keys and signatures are the real ones, with the
settings that bootstrap gives. All of it runs here, on loopback, and what is light about the minions
is what they are responsible for: in place of the states of a role, each SLS has one that does
nothing, and none of the daemons runs. So questions about those are answered with what fails, as
fast or slow as that is, and a run of states takes less than on a node; the seconds for which
fleet.status looks for a holder of the VIP, of which there is none, are left out. All nodes beyond
the eighth are web servers. All have one key, and `salt` has more patience than on a fleet, because
minions have this machine's processors in turn.

Prints medians, and what a minion's part of each is in units of its part with the fewest minions:
1 is linear. Ends with 1 when that is more than wanted, or when a minion takes more of the master's
memory: that is what its processes have written to, held against the fewest minions.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

from bench.converge import changed
from bench.light import LEAST, MOST, Light, Ran, light
from fleet import parts
from lab.config import LabError

PING = "test.ping"
APPLY = "state.apply"
PLAN = "rollout.plan"
STATUS = "fleet.status"
#: What is counted of each, and how that is called.
KINDS = {
    "seconds": "seconds",
    "processor": "processor seconds",
    "masters": "of them the master's",
}
#: How many times the part of a minion may be what it is with the fewest minions.
LINEAR = 1.25
#: MiB of the master for each minion more.
WANTED_MEMORY = 20.0


@dataclass(frozen=True)
class Taken:
    """What something took once, as :class:`bench.light.Ran` has it, with so many minions."""

    name: str
    minions: int
    seconds: float
    processor: float
    masters: float
    peak: float


def ask(fleet: Light) -> list[Taken]:
    """Ask a fleet everything once.

    :raises LabError: a minion does not answer, or there was something to do.
    """
    asks: dict[str, Callable[[], Ran]] = {
        PING: lambda: fleet.run("salt", "*", "test.ping", "--out=json").require(),
        APPLY: lambda: _apply(fleet),
        PLAN: lambda: fleet.run("salt-run", "rollout.plan", "--out=json").require(),
        STATUS: lambda: _status(fleet),
    }
    taken = []
    for name, run in asks.items():
        ran = run()
        # It looks for so long whether a balancer takes the VIP, and none runs.
        waited = parts.VIP_MOVES if name == STATUS else 0
        taken.append(
            Taken(name, fleet.number, ran.seconds - waited, ran.processor, ran.masters, ran.peak)
        )
    return taken


def _apply(fleet: Light) -> Ran:
    ran = fleet.run("salt", "*", "state.apply", "--out=json").require()
    if busy := changed(ran.said):
        raise LabError(f"There was something to do on light minions: {'; '.join(busy)}")
    return ran


def _status(fleet: Light) -> Ran:
    # It says of all daemons that they do not run.
    ran = fleet.run("salt-run", "fleet.status", "--out=json").require(1)
    try:
        nodes = json.loads(ran.said)["nodes"]
    except (ValueError, KeyError) as error:
        raise LabError(f"fleet.status did not tell of nodes: {ran.said[-2000:]}") from error
    if silent := [node for node, found in nodes.items() if not found["up"]]:
        raise LabError(f"fleet.status did not hear {', '.join(silent)}: {ran.said[-2000:]}")
    return ran


def medians(taken: list[Taken]) -> dict[str, dict[int, Taken]]:
    """Return the medians by name and number of minions, in the order in which they come first."""
    found: dict[str, dict[int, Taken]] = {}
    for name, minions in dict.fromkeys((each.name, each.minions) for each in taken):
        those = [each for each in taken if (each.name, each.minions) == (name, minions)]
        found.setdefault(name, {})[minions] = Taken(
            name,
            minions,
            *(median(getattr(each, what) for each in those) for what in (*KINDS, "peak")),
        )
    return found


def part(now: Taken, first: Taken, what: str) -> float:
    """Return a minion's part of something in units of its part with the fewest minions."""
    mine, others = (getattr(each, what) / each.minions for each in (now, first))
    return float(mine / others)


def each_more(memory: dict[int, float]) -> dict[int, float]:
    """Return the MiB that each minion beyond the fewest takes, by number of minions."""
    first = min(memory)
    return {
        number: (mib - memory[first]) / (number - first)
        for number, mib in memory.items()
        if number != first
    }


def report(taken: list[Taken], memory: dict[int, float]) -> list[str]:
    """Print what was found beside what is wanted; returns a sentence for each that is too much."""
    much = []
    fewest = min(memory)
    print(
        f"\nMedians; in parentheses a minion's part, in units of that with {fewest} minions, wanted"
    )
    print(f"to be {LINEAR:g} at most; and the MiB that the command itself has at most:")
    print("".join(f"  {word:>24}" for word in ("", *KINDS.values(), "MiB")))
    for name, found in medians(taken).items():
        for number, each in found.items():
            portions = {what: part(each, found[min(found)], what) for what in KINDS}
            told = (f"{getattr(each, what):.2f} ({of:.2f})" for what, of in portions.items())
            cells = (f"{name}, {number:3} minions", *told, f"{each.peak:.0f}")
            print("".join(f"  {cell:>24}" for cell in cells))
            much += [
                f"{name} with {number} minions: a minion's part of {KINDS[what]} is {of:.2f} times "
                f"that with {min(found)}, and {LINEAR:g} are wanted"
                for what, of in portions.items()
                if of > LINEAR
            ]
    print(f"Memory of the master, wanted to be {WANTED_MEMORY:g} MiB at most for each minion more:")
    more = each_more(memory)
    for number, mib in memory.items():
        words = f", {more[number]:.2f} MiB for each more" if number in more else ""
        print(f"  {number:3} minions: {mib:.0f} MiB{words}")
        if more.get(number, 0) > WANTED_MEMORY:
            much.append(
                f"memory with {number} minions: {more[number]:.1f} MiB for each, and "
                f"{WANTED_MEMORY:g} MiB are wanted"
            )
    return much


def measure(numbers: list[int], rounds: int) -> tuple[list[Taken], dict[int, float]]:
    """Start a fleet of each size and ask it in rounds; returns what it took, and the memory.

    :raises LabError: a fleet does not start, or does not answer.
    """
    taken: list[Taken] = []
    memory: dict[int, float] = {}
    for number in numbers:
        print(f"{number} minions: starting")
        with light(number) as fleet:
            # Files that are rendered for the first time, modules that are loaded.
            ask(fleet)
            for at in range(1, rounds + 1):
                done = ask(fleet)
                told = ", ".join(
                    f"{each.name} {each.seconds:.2f} ({each.processor:.2f}, {each.masters:.2f})"
                    for each in done
                )
                print(f"{number} minions, round {at} of {rounds}: {told} s")
                taken += done
            memory[number] = fleet.memory()
    return taken, memory


def _ended(number: int, _frame: object) -> NoReturn:
    # Once: what is cleaned up then is not to be left half-way.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run ``bench/growth``; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="bench/growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--minions", type=int, nargs="+", default=[8, 16, 32, 64], help="how many (8 16 32 64)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if not all(LEAST <= number <= MOST for number in options.minions):
        parser.error(f"--minions must be {LEAST} (so that each role has a node) to {MOST}")
    numbers = sorted(set(options.minions))
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _ended)
    try:
        print(f"load of this machine before: {os.getloadavg()[0]:.1f}")
        taken, memory = measure(numbers, options.rounds)
    except LabError as error:
        print(f"bench/growth: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    much = report(taken, memory)
    if options.json:
        document: dict[str, Any] = {"taken": [asdict(each) for each in taken], "memory": memory}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    for sentence in much:
        print(f"bench/growth: {sentence}", file=sys.stderr)
    return 1 if much else 0


if __name__ == "__main__":
    sys.exit(main())
