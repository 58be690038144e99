"""The table that an operator sees: where the page is, and how each node is."""

from __future__ import annotations

import datetime
from typing import Any

from fleet import overview
from fleet.words import duration
from lab import edge, engine
from lab.config import ROOT, Lab


def memory_mib(lab: Lab) -> float:
    """Return how much memory all nodes use together, in MiB, as podman counts it."""
    names = [container["Names"][0] for container in engine.containers(lab)]
    if not names:
        return 0.0
    text = engine.podman("stats", "--no-stream", "--no-reset", "--format", "{{.MemUsage}}", *names)
    return sum(_mib(line.split("/")[0].strip()) for line in text.splitlines() if line.strip())


def _mib(text: str) -> float:
    units = {"TB": 1e12, "GB": 1e9, "MB": 1e6, "kB": 1e3, "KB": 1e3, "B": 1.0}
    for unit, factor in units.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor / 2**20
    raise ValueError(f"podman printed a memory figure without a unit: {text!r}")


def rows(
    lab: Lab, state: dict[str, Any], now: datetime.datetime | None = None
) -> list[tuple[str, ...]]:
    """Return the table of nodes: ID, roles, address, OS, release, for how long it is so, state."""
    now = now or datetime.datetime.now(datetime.UTC)
    known = state.get("nodes") or {}
    table: list[tuple[str, ...]] = [("NODE", "ROLES", "ADDRESS", "OS", "RELEASE", "FOR", "STATE")]
    for node in lab.nodes:
        entry = known.get(node.id) or {}
        table.append(
            (
                node.id,
                ",".join(node.roles),
                node.address,
                str(entry.get("os") or "-"),
                str(entry.get("release") or "-"),
                _for(entry.get("since"), now),
                str(entry.get("state") or ("up" if entry.get("up") else "no answer")),
            )
        )
    return table


def _for(since: str | None, now: datetime.datetime) -> str:
    if not since:
        return "-"
    return duration((now - datetime.datetime.fromisoformat(since)).total_seconds())


def aligned(table: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def show(lab: Lab, state: dict[str, Any], timings: list[tuple[str, float]] | None = None) -> int:
    """Print the summary, and how long each step took when ``timings`` are given.

    :return: the exit code, 1 when something is wrong with the cluster.
    """
    print()
    print(aligned(rows(lab, state)))
    print()
    if lines := overview.lines(state):
        print(*lines, "", sep="\n")
    for title, seconds in timings or []:
        print(f"  {seconds:6.1f} s  {title}")
    if timings:
        print(f"  {sum(seconds for _title, seconds in timings):6.1f} s  in all")
        print(f"  {memory_mib(lab):6.0f} MiB of memory in use by the nodes")
        print()
    print(f"The counter is at  {state['url']}")
    if (path := edge.authority(lab)).exists():
        print(f"Browsers are to trust the authority in  {path.relative_to(ROOT)}")
    print("Worth knowing next:")
    print("  make status                       how every node is")
    print("  make salt ARGS=\"'*' test.ping\"     any salt command, on the master")
    print("  make run ARGS='state.orchestrate orch.rollout'   converge the fleet again")
    return 1 if state.get("failed") else 0
