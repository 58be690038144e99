"""
When nodes' disks will be full, as far as their last hours tell.

``disks.json`` in the master's state folder has readings of the free bytes, by node and mount point.
Salt's schedule takes one every quarter of an hour.
"""

import json
import time
from collections.abc import Mapping, Sequence
from statistics import linear_regression
from typing import Any

from fleet import files, parts, revision
from fleet.looking import Look
from fleet.master import Master
from fleet.minions import Minions
from fleet.words import duration

_FILE = "disks.json"
#: Seconds between two readings that are kept, at least, and for which they are.
_APART, _KEPT = 600.0, 24 * 3600.0
#: Seconds and readings from which on a rate can be told: a rollout unpacks files, a backup comes.
_LONG, _MANY = 3 * 3600.0, 6
#: Seconds left from which on it is a problem.
SOON = 24 * 3600.0
#: Free bytes at a time (seconds since 1970), by mount point, by node.
Readings = dict[str, dict[str, list[tuple[float, int]]]]


def measure(master: Master, minions: Minions, now: float | None = None) -> dict[str, Any]:
    """
    Ask every node how much room there is, and note it.

    Returns ``measured`` (nodes) and ``failed`` (sentences about those that did not answer).

    Raises FleetError when topology or settings cannot be read.
    """
    topology, settings = revision.present(master)
    nodes = topology["nodes"]
    found = minions.everyone(nodes, "disk.usage", ["l"], None, 10)
    look = Look({node: {"disk.usage": answer} for node, answer in found.answers.items()})
    seen = parts.Nodes(nodes, settings)
    note(master, {node: seen.disks(look, node) for node in look.answers}, now)
    return {"measured": list(look.answers), "failed": found.problems()}


def read(master: Master) -> Readings:
    """Return the readings; none when there are none, or their file is damaged."""
    try:
        found = json.loads((master.state / _FILE).read_text(encoding="utf-8"))
        return {
            str(node): {
                str(mount): [(float(at), int(free)) for at, free in points]
                for mount, points in mounts.items()
            }
            for node, mounts in found.items()
        }
    except (FileNotFoundError, AttributeError, TypeError, ValueError):
        # They are made anew within hours, and are no reason to tell nothing else.
        return {}


def note(master: Master, disks: Mapping[str, Mapping[str, Any]], now: float | None = None) -> None:
    """
    Add a reading of each disk, and forget those that are old.

    disks
        By node and mount point, each with ``free`` (bytes).
    """
    now = time.time() if now is None else now
    there = read(master)
    kept: Readings = {}
    for node, mounts in disks.items():
        for mount, disk in mounts.items():
            points = [
                (at, free)
                for at, free in there.get(node, {}).get(mount, [])
                if now - _KEPT <= at <= now
            ]
            if not points or now - points[-1][0] >= _APART:
                points.append((now, disk["free"]))
            kept.setdefault(node, {})[mount] = points
    # Of a node that did not answer this time what it said before.
    files.write_json(master.state / _FILE, {**there, **kept})


def left(points: Sequence[tuple[float, int]]) -> float | None:
    """
    Return in how many seconds a disk will be full, at the rate of its readings.

    None where it does not become fuller, and while that cannot be told: for that it takes three
    hours of readings, and that both halves of them say so. What was once unpacked is no rate.
    """
    if len(points) < _MANY or points[-1][0] - points[0][0] < _LONG:
        return None
    half = len(points) // 2
    if any(_rate(each) >= 0 for each in (points[: half + 1], points[half:], points)):
        return None
    return points[-1][1] / -_rate(points)


def _rate(points: Sequence[tuple[float, int]]) -> float:
    """Return by how many bytes a second what is free grows."""
    begin = points[0][0]
    times = [at - begin for at, _free in points]
    slope: float = linear_regression(times, [free for _at, free in points]).slope
    return slope


def forecast(master: Master) -> dict[str, dict[str, float]]:
    """Return the seconds left, by node and mount point, of those disks that become fuller."""
    found: dict[str, dict[str, float]] = {}
    for node, mounts in read(master).items():
        for mount, points in mounts.items():
            if (seconds := left(points)) is not None:
                found.setdefault(node, {})[mount] = seconds
    return found


def problems(nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """
    Return a sentence about each disk that will be full soon.

    nodes
        What is told of each node, with ``disk``: by mount point ``free`` and ``full_in_s``.
    """
    return [
        f"{node}: its file system {mount} will be full in {duration(disk['full_in_s'])} at the "
        f"rate of the last hours, {disk['free'] / 2**20:.0f} MiB are free: see what grows there, "
        "and make room"
        for node, entry in nodes.items()
        for mount, disk in entry["disk"].items()
        if disk["full_in_s"] is not None and disk["full_in_s"] < SOON
    ]
