"""The table that an operator sees: where the page is, and how each node is."""

from __future__ import annotations

import datetime
from typing import Any

from fleet.words import count, duration
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


def facts(state: dict[str, Any]) -> list[str]:
    """Return a line for each thing that is to be told of the fleet as a whole, problems last."""
    lines = []
    revision, drift = state.get("revision"), state.get("drift")
    if revision:
        line = f"revision     {revision['id']}, release {revision['release']}, made "
        lines.append(line + revision["created"])
    if drift:
        differing = [name for kind in ("changed", "added", "gone") for name in drift[kind]]
        some = ", ".join(differing[:3]) + (", ..." if len(differing) > 3 else "")
        differs = f"{count(len(differing), 'file')} not rolled out yet: {some}"
        lines.append(f"checkout     {differs if differing else 'as it was rolled out'}")
    if lock := state.get("lock"):
        alive = "runs" if lock["alive"] else "died"
        lines.append(
            f"lock         {lock['kind']} {lock['change']} of {lock['owner']} {alive}, "
            f"since {lock['since']}"
        )
    if last := state.get("last"):
        # Older versions only had rollouts, and named them by their job.
        name = f"{last.get('kind', 'rollout')} {last.get('id') or last.get('jid')}"
        lines.append(
            f"last change  {name} of {last.get('owner')} {last['outcome']}, {last['ended']}"
        )
    lags = [
        f"{member['node'] or member['name']} {member['lag_s']:g} s"
        for member in (state.get("replica_set") or {}).get("members", [])
        if member["lag_s"] is not None and member["state"] != "PRIMARY"
    ]
    if lags:
        lines.append(f"replication  behind the primary: {', '.join(lags)}")
    if ends := _first_end(state):
        lines.append(f"certificates the first ends on {ends[:10]}")
    if note := state.get("note"):
        lines.append(f"note         {note}")
    return [*lines, *(f"WRONG        {problem}" for problem in state.get("failed") or [])]


def _first_end(state: dict[str, Any]) -> str | None:
    ends = [node.get("certificate") for node in (state.get("nodes") or {}).values()]
    return min((end for end in ends if end), default=None)


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
    if lines := facts(state):
        print(*lines, "", sep="\n")
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
    return 1 if state.get("failed") else 0
