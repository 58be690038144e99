"""How fast hits are counted, beside what the same servers do without combining or a database.

    make bench                    # the running lab, through its virtual address
    bench/hits --local            # three mongods and two web nodes of its own, on loopback

Every count is checked: a run in which a counter is not what was acknowledged ends with 1. How fast
it was changes nothing about that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench import load
from bench.api import NUMBERED, Counters, numbered, total
from bench.cluster import Cluster
from bench.load import Load, Outcome
from bench.local import GUNICORN, loopback
from bench.place import Place
from lab import config
from lab.config import LabError

MEMORY_SECONDS = 1.0
WARM_UP_SECONDS = 1.0
# Hits of each of the many counters before they are measured.
INTRODUCTIONS = 4
WANTED = {
    "combined : once per request": "at least 8",
    "combined : no database": "at least 0.6",
    "many counters : one": "at least 0.5",
    "99th percentile at half of peak, ms": "at most 50",
    "memory of a web node, MiB": "at most 300",
}


class Bench:
    """One run."""

    def __init__(self, place: Place, seconds: float, connections: int, counters: int) -> None:
        self._place = place
        self._seconds = seconds
        self._connections = connections
        self._many = counters
        self.counters = Counters(place.endpoints[0])
        self._expected: dict[str, tuple[int, int]] = {}
        self.outcomes: dict[str, list[Outcome]] = {}
        self.memory: dict[str, list[float]] = {}

    def rounds(self, count: int, soak: float) -> None:
        """Measure everything ``count`` times, then load for ``soak`` seconds more."""
        self.counters.make(["hot", "once", *numbered(self._many)])
        for _ in range(count):
            self._warm_up()
            self._introduce()
            with self._watch_memory():
                self._hot("combined")
                self._add("no database", "GET", "/livez")
                peak = median(each.rate for each in self.outcomes["combined"])
                self._hot("half of peak", rate=peak / 2)
                self._turns("many counters")
            with self._place.once_per_request():
                self._warm_up()
                self._hot("once per request", "once")
        if soak:
            self._warm_up()
            with self._watch_memory():
                self._hot("soak", seconds=soak)

    def _warm_up(self) -> None:
        # Of the same counter, so that its first document and connection are no part of the rest.
        self._hot("warm-up", seconds=WARM_UP_SECONDS)

    def _introduce(self) -> None:
        # Nearly every node has met nearly every counter: the first hit of one there costs the
        # database more than twice what each later one does, and is told apart.
        met = 0
        while met < INTRODUCTIONS * self._many:
            outcome = self._turns("first hits")
            if not outcome.acknowledged:
                raise LabError("No hit of the many counters was acknowledged: see 'make status'.")
            met += outcome.acknowledged

    def _turns(self, kind: str) -> Outcome:
        return self._add(kind, "POST", self.counters.hits(NUMBERED), counters=self._many)

    def _hot(self, kind: str, name: str = "hot", *, seconds: float = 0, rate: float = 0) -> None:
        self._add(kind, "POST", self.counters.hits(name), seconds=seconds, rate=rate)

    def _add(
        self,
        kind: str,
        method: str,
        path: str,
        *,
        seconds: float = 0,
        rate: float = 0,
        counters: int = 0,
    ) -> Outcome:
        endpoints = self._place.endpoints
        wanted = seconds or self._seconds
        outcome = load.run(Load(endpoints, method, path, wanted, self._connections, counters, rate))
        self.outcomes.setdefault(kind, []).append(outcome)
        print(f"  {kind:18} {outcome.rate:8.0f}/s  {_latency(outcome)}{_trouble(outcome)}")
        if method == "POST":
            self._expect("many" if counters else path.split("/")[-2], outcome)
        return outcome

    def _expect(self, name: str, outcome: Outcome) -> None:
        least, most = self._expected.get(name, (0, 0))
        # What was refused may have been counted all the same, as what had no answer.
        least += outcome.acknowledged
        most += outcome.acknowledged + outcome.refused + outcome.unanswered
        self._expected[name] = least, most

    @contextmanager
    def _watch_memory(self) -> Iterator[None]:
        # Of the processes that run now; earlier ones may be gone. To find them takes long enough to
        # be seen in what is measured next.
        self.memory = {}
        self._place.memory()
        done = threading.Event()

        def watch() -> None:
            while not done.wait(MEMORY_SECONDS):
                for node, size in self._place.memory().items():
                    self.memory.setdefault(node, []).append(size)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def check(self) -> list[str]:
        """Return a sentence for each count that is not what was acknowledged."""
        values = self.counters.at(self._place.endpoints[0]).values()
        values["many"] = total(values, list(numbered(self._many)))
        return [
            f"{name} is {values[name]}, and {least} were acknowledged"
            + (f" ({most - least} more unknown)" if most > least else "")
            for name, (least, most) in self._expected.items()
            if not least <= values[name] <= most
        ]

    def ratios(self) -> dict[str, float]:
        """Return what is asked of the service, by the names of ``WANTED``."""
        rate = {kind: median(each.rate for each in them) for kind, them in self.outcomes.items()}
        sizes = [size for node in self.memory.values() for size in node]
        return {
            "combined : once per request": rate["combined"] / rate["once per request"],
            "combined : no database": rate["combined"] / rate["no database"],
            "many counters : one": rate["many counters"] / rate["combined"],
            "99th percentile at half of peak, ms": median(
                each.p99 for each in self.outcomes["half of peak"]
            ),
            "memory of a web node, MiB": max(sizes, default=0.0),
        }


def _latency(outcome: Outcome) -> str:
    return f"median {outcome.p50:6.1f} ms, 99 % {outcome.p99:6.1f} ms"


def _trouble(outcome: Outcome) -> str:
    found = {"refused": outcome.refused, "unanswered": outcome.unanswered}
    return "".join(f", {number} {word}" for word, number in found.items() if number)


def report(bench: Bench) -> None:
    """Print the ratios beside what is asked for, and how memory went."""
    print("\nRatios of this run (medians over its rounds):")
    for name, value in bench.ratios().items():
        print(f"  {name:38} {value:8.2f}   wanted: {WANTED[name]}")
    for node, sizes in bench.memory.items():
        third = max(len(sizes) // 3, 1)
        begun, ended = median(sizes[:third]), median(sizes[-third:])
        print(f"  memory of {node}: {begun:.0f} MiB in the first third, {ended:.0f} in the last")


def measure(place: Place, options: argparse.Namespace) -> int:
    """Run the benchmark; returns the exit code."""
    print(
        f"{place.name}: {options.connections} connections, {options.seconds:g} s each;"
        f" load of this machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    bench = Bench(place, options.seconds, options.connections, options.counters)
    try:
        bench.rounds(options.rounds, options.soak)
        wrong = bench.check()
    finally:
        bench.counters.at(place.endpoints[0]).remove()
    report(bench)
    if options.json:
        kinds = {
            kind: [dataclasses.asdict(each) for each in them]
            for kind, them in bench.outcomes.items()
        }
        document = {
            "outcomes": kinds,
            "ratios": bench.ratios(),
            "memory": bench.memory,
            "wrong": wrong,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    print("\nEvery counter is what was acknowledged." if not wrong else "\nWRONG:")
    for sentence in wrong:
        print(f"  {sentence}")
    return 1 if wrong else 0


def main(arguments: list[str] | None = None) -> int:
    """Run ``bench/hits``; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="bench/hits", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--local", action="store_true", help="measure on loopback, without a lab")
    parser.add_argument("--seconds", type=float, default=10, help="of each load (10)")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--counters", type=int, default=10_000, help="of the many (10000)")
    parser.add_argument("--rounds", type=int, default=1, help="of all loads; medians are told")
    parser.add_argument("--soak", type=float, default=0, help="seconds of a last load, for memory")
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    parser.add_argument(
        "--serve", default=GUNICORN, help="what starts a web node with --local ({port}: its port)"
    )
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        if options.local:
            with loopback(command=options.serve) as place:
                return measure(place, options)
        return measure(Cluster(config.load()), options)
    except LabError as error:
        print(f"bench/hits: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
