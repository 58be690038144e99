"""What clients get of a failover: for how long no hit is acknowledged, and what they are refused.

    bench/failover                # the running lab, through its virtual address
    bench/failover --local        # three mongods and two web nodes of its own, on loopback

Twelve clients hit meanwhile, half of them with idempotency keys, and wait 10 s for each answer. Ends
with 1 when a hit was lost or counted twice, when one was refused, or when a gap is over its limit.
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

VIP_SECONDS = 1.0
"""In which 95 of 100 kills of the VIP's holder have to have another one."""


def summary(case: str, runs: list[Run], longest: float) -> str:
    """Return what runs of one case came to."""
    found = [run.gap for run in runs]
    good = sum(run.good(longest) for run in runs)
    sums = {
        word: sum(getattr(run, word) for run in runs)
        for word in ("refused", "unsure", "lost", "doubled")
    }
    return (
        f"{case}: gaps of {min(found):.2f} to {max(found):.2f} s, p50 {percentile(found, 0.5):.2f} s,"
        f" p95 {percentile(found, 0.95):.2f} s; longest wait of a hit"
        f" {max(run.wait for run in runs):.2f} s\n"
        f"  of {sum(run.acknowledged for run in runs)} hits acknowledged: "
        + ", ".join(f"{number} {word}" for word, number in sums.items())
        + f"\n  {good} of {len(runs)} good: at least {surely(good, len(runs)):.0%} of all are (95 %)"
    )


def missed(runs: list[Run], p50: float, p95: float) -> list[str]:
    """Return in what runs of one case are not what is wanted."""
    found = [run.gap for run in runs]
    wrong = [f"{run.what}: {problem}" for run in runs for problem in run.problems]
    wrong += [f"{run.what}: {run.refused} hits were refused" for run in runs if run.refused]
    for share, limit in ((0.5, p50), (0.95, p95)):
        if percentile(found, share) > limit:
            wrong.append(f"p{share * 100:g} is {percentile(found, share):.2f} s, over {limit:g} s")
    return wrong


def measure(service: Service, options: argparse.Namespace) -> int:
    """Run the benchmark; returns the exit code."""
    cases = [case for case in service.cases() if case.name in (options.case or CASES)]
    if not cases:
        raise LabError(f"Of {', '.join(options.case)} there is nothing that can fail here.")
    print(f"{service.name}: {2 * (options.clients // 2)} clients, {options.runs} runs of each case")
    results: dict[str, list[Run]] = {}
    for case in cases:
        for _ in range(options.runs):
            run = gaps.run(service, case, options.clients // 2)
            results.setdefault(case.name, []).append(run)
            print(
                f"  {case.name} ({run.what}): gap {run.gap:.2f} s, longest wait {run.wait:.2f} s,"
                f" {run.refused} refused"
            )
    wrong = []
    print()
    for name, runs in results.items():
        print(summary(name, runs, options.p95))
        wrong += [f"{name}: {sentence}" for sentence in missed(runs, options.p50, options.p95)]
    taken = getattr(service, "vip_seconds", [])
    if taken:
        print(f"one other holder of the VIP alone: median {median(taken):.2f} s, ", end="")
        print(f"p95 {percentile(taken, 0.95):.2f} s")
        if percentile(taken, 0.95) > VIP_SECONDS:
            wrong.append(f"another holder of the VIP: p95 is over {VIP_SECONDS:g} s")
    if options.json:
        document = {
            "runs": {
                name: [dataclasses.asdict(run) for run in runs] for name, runs in results.items()
            },
            "wrong": wrong,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    print("\nAll is as wanted." if not wrong else "\nMISSED:")
    for sentence in wrong:
        print(f"  {sentence}")
    return 1 if wrong else 0


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
    parser.add_argument("--p50", type=float, default=4.0, help="seconds (4)")
    parser.add_argument("--p95", type=float, default=6.0, help="seconds (6)")
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
