"""What clients get of a failover: for how long no hit is acknowledged, and what they are refused.

    bench/failover                # the running lab, through its virtual address
    bench/failover --local        # three mongods and two web nodes of its own, on loopback

Twelve clients hit meanwhile, half of them with idempotency keys, and wait 10 s for each answer.
Every count is checked: a run in which a hit was lost or counted twice ends with 1. How long it
took, and who was refused, is told beside what is wanted, and changes nothing about that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from statistics import median

from bench import gaps
from bench.failing import CASES, There, here
from bench.gaps import Run, Service, percentile, surely
from lab import config
from lab.config import LabError

P50, P95 = 4.0, 6.0
"""Seconds for which no hit is to be acknowledged at most."""

VIP_P95 = 1.0
"""Seconds after which the VIP is to have another holder."""


def summary(case: str, runs: list[Run]) -> str:
    """Return what runs of one case came to."""
    found = [run.gap for run in runs]
    good, count = sum(run.good(P95) for run in runs), len(runs)
    slowest = max(run.wait for run in runs)
    words = ("acknowledged", "refused", "unsure", "lost", "doubled")
    sums = {word: sum(getattr(run, word) for run in runs) for word in words}
    return "\n".join(
        (
            f"{case}: gaps of {min(found):.2f} to {max(found):.2f} s,"
            f" p50 {percentile(found, 0.5):.2f} s, p95 {percentile(found, 0.95):.2f} s;"
            f" longest wait of a hit {slowest:.2f} s",
            f"  hits: {', '.join(f'{number} {word}' for word, number in sums.items())}",
            f"  {good} of {count} good: at least {surely(good, count):.0%} of all are (95 %)",
        )
    )


def missed(runs: list[Run]) -> list[str]:
    """Return in what runs of one case are not what is wanted."""
    found = [f"{run.what}: {run.refused} hits were refused" for run in runs if run.refused]
    for share, limit in ((0.5, P50), (0.95, P95)):
        reached = percentile([run.gap for run in runs], share)
        if reached > limit:
            found.append(f"p{share * 100:g} is {reached:.2f} s, over {limit:g} s")
    return found


def measure(service: Service, options: argparse.Namespace) -> int:
    """Run the benchmark; returns the exit code."""
    cases = [case for case in service.cases() if case.name in (options.case or CASES)]
    if not cases:
        raise LabError(f"Of {', '.join(options.case)} there is nothing that can fail here.")
    print(f"{service.name}: {2 * (options.clients // 2)} clients, {options.runs} runs of each case")
    results: dict[str, list[Run]] = {}
    try:
        for case in cases:
            for _ in range(options.runs):
                run = gaps.run(service, case, options.clients // 2)
                results.setdefault(case.name, []).append(run)
                print(
                    f"  {case.name} ({run.what}): gap {run.gap:.2f} s, longest wait"
                    f" {run.wait:.2f} s, {run.refused} refused"
                )
    finally:
        service.counters.remove()
    wrong = [
        f"{run.case}, {run.what}: {problem}"
        for runs in results.values()
        for run in runs
        for problem in run.problems
    ]
    report(results, getattr(service, "vip_seconds", []))
    if options.json:
        runs = {name: [dataclasses.asdict(run) for run in them] for name, them in results.items()}
        document = {"runs": runs, "wrong": wrong}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    print("\nEvery acknowledged hit is counted once." if not wrong else "\nWRONG:")
    for sentence in wrong:
        print(f"  {sentence}")
    return 1 if wrong else 0


def report(results: dict[str, list[Run]], vip: list[float]) -> None:
    """Print what runs came to, and what of it is not as wanted.

    :param vip: after how many seconds the VIP had another holder, of each time.
    """
    print()
    for name, runs in results.items():
        print(summary(name, runs))
        for sentence in missed(runs):
            print(f"  MISSED: {sentence}")
    if vip:
        reached = percentile(vip, 0.95)
        print(f"one other holder of the VIP: median {median(vip):.2f} s, p95 {reached:.2f} s")
        if reached > VIP_P95:
            print(f"  MISSED: p95 is over {VIP_P95:g} s")


def main(arguments: list[str] | None = None) -> int:
    """Run ``bench/failover``; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="bench/failover",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--local", action="store_true", help="measure on loopback, without a lab")
    parser.add_argument("--runs", type=int, default=20, help="of each case (20)")
    parser.add_argument("--case", action="append", choices=CASES, help="only this; may be repeated")
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    if options.clients < 2:
        parser.error("--clients must be at least 2")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        if options.local:
            with here() as service:
                return measure(service, options)
        return measure(There(config.load()), options)
    except LabError as error:
        print(f"bench/failover: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
