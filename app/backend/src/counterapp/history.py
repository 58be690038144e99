"""A counter's past, from the buckets that each change is put into as it is made.

A bucket is named by the minutes, hours or days since 1970 (UTC) at which it begins. All moments are
of the database's clock.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from counterapp.counters import LARGEST, Counter

Resolution = Literal["minute", "hour", "day"]

SECONDS: dict[Resolution, int] = {"minute": 60, "hour": 3600, "day": 86400}

KEPT: dict[Resolution, int] = {"minute": 120, "hour": 72, "day": 400}
"""How many buckets a counter keeps; older days are summed up in its ``base``."""

SHOWN: dict[Resolution, int] = {"minute": 60, "hour": 48, "day": 365}
"""How many points a chart gets at most."""


@dataclass(frozen=True)
class Point:
    """One bucket of a chart: the value at its end, and by how much hits and updates changed it."""

    time: datetime
    value: int
    change: int


def bucket(at: datetime, resolution: Resolution) -> int:
    """Return the bucket that a moment falls into."""
    return int(at.timestamp()) // SECONDS[resolution]


def rates(counter: Counter) -> dict[str, float]:
    """Return by how much hits and updates changed the counter in the last minute, hour and day.

    As of the second in which the store looked. The bucket that has partly left the span counts in
    proportion to what is still in it. A sum beyond ±``LARGEST`` is given as that.
    """
    # The same for a whole second, so that what is told keeps its tag for so long.
    now = counter.seen.replace(microsecond=0)
    return {
        "minute": _sliding(counter.minutes, now, "minute", 1),
        "hour": _sliding(counter.minutes, now, "minute", 60),
        "day": _sliding(counter.hours, now, "hour", 24),
    }


def points(counter: Counter, resolution: Resolution) -> list[Point]:
    """Return the chart of a counter, oldest first, without gaps.

    The last point's value is the counter's, and each value is that of the point before it plus its
    own change, plus what sets and imports moved it by meanwhile: a chart never disagrees with the
    count.
    """
    changes = {"minute": counter.minutes, "hour": counter.hours, "day": counter.days}[resolution]
    sets = {"minute": counter.set_minutes, "hour": counter.set_hours, "day": counter.set_days}[
        resolution
    ]
    # A change that is made while the store looks may be of the bucket that begins just then.
    last = max(bucket(counter.seen, resolution), *changes, *sets, 0)
    first = max(last - SHOWN[resolution] + 1, min(bucket(counter.created, resolution), last))
    value, found = counter.value, []
    for number in range(last, first - 1, -1):
        change = changes.get(number, 0)
        time = datetime.fromtimestamp(number * SECONDS[resolution], UTC)
        found.append(Point(time, value, change))
        value -= change + sets.get(number, 0)
    return found[::-1]


def _sliding(changes: dict[int, int], now: datetime, resolution: Resolution, length: int) -> float:
    seconds = SECONDS[resolution]
    current = bucket(now, resolution)
    left = 1 - now.timestamp() % seconds / seconds
    whole = sum(amount for number, amount in changes.items() if number > current - length)
    found = round(whole + changes.get(current - length, 0) * left, 2)
    return float(max(-LARGEST, min(LARGEST, found)))
