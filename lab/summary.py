"""The table that an operator sees: where the page is, and how each node is."""

from __future__ import annotations

from typing import Any

from lab import engine
from lab.config import Lab


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


def rows(lab: Lab, state: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the table of nodes: ID, roles, address, OS, release and state."""
    known = state.get("nodes") or {}
    table: list[tuple[str, ...]] = [("NODE", "ROLES", "ADDRESS", "OS", "RELEASE", "STATE")]
    for node in lab.nodes:
        facts = known.get(node.id) or {}
        table.append(
            (
                node.id,
                ",".join(node.roles),
                node.address,
                str(facts.get("os") or "-"),
                str(facts.get("release") or "-"),
                str(facts.get("state") or ("up" if facts.get("up") else "no answer")),
            )
        )
    return table


def aligned(table: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def show(lab: Lab, state: dict[str, Any], timings: list[tuple[str, float]] | None = None) -> None:
    """Print the summary, and how long each step took when ``timings`` are given."""
    print()
    print(aligned(rows(lab, state)))
    print()
    for title, seconds in timings or []:
        print(f"  {seconds:6.1f} s  {title}")
    if timings:
        print(f"  {sum(seconds for _title, seconds in timings):6.1f} s  in all")
        print(f"  {memory_mib(lab):6.0f} MiB of memory in use by the nodes")
        print()
    print(f"The counter is at  http://{lab.vip}/")
    print("Worth knowing next:")
    print("  make status                       how every node is")
    print("  make salt ARGS=\"'*' test.ping\"     any salt command, on the master")
    print("  make run ARGS='state.orchestrate orch.rollout'   converge the fleet again")
