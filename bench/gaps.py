"""Clients who go on hitting while something fails: for how long none of them was acknowledged, what
they were refused, and whether every hit counts once."""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import requests

from bench.api import Counters
from lab.config import LabError
from tests.support import hits
from tests.support.hits import Traffic

CLIENT_SECONDS = 10.0
"""For how long a client waits for an answer."""

ENOUGH = 40
"""Hits of each kind, without keys and with them, that have to be acknowledged before and after."""

PATIENCE = 120.0
"""Seconds in which they are, or nothing is served any more."""


@dataclass(frozen=True)
class Case:
    """Something that fails."""

    name: str
    harm: Callable[[], str]
    """Does it, and returns what it was done to."""
    recover: Callable[[], None]
    """Returns when all is as it was before."""


class Service(Protocol):
    """Where clients send their hits, and what can fail there."""

    name: str

    @property
    def counters(self) -> Counters:
        """The counters that are hit."""

    def send(self, counter: str, key: str | None) -> requests.Response:
        """Send a hit on a counter, with an idempotency key or without."""

    def cases(self) -> list[Case]:
        """Return what can fail."""


@dataclass(frozen=True)
class Run:
    """What clients saw of one failure."""

    case: str
    what: str
    gap: float
    """Seconds in which no hit of a kind was acknowledged; of the two kinds the longer time."""
    wait: float
    """Seconds that the slowest hit took, its client's further tries included."""
    acknowledged: int
    refused: int
    """Answers with an error, but for those to hits that a server had begun and that had no key: of
    these nobody knows whether they are counted, so nobody sends them again, and they are unsure."""
    unsure: int
    """Hits that nobody knows to be counted or not."""
    lost: int
    doubled: int
    problems: list[str]

    def good(self, longest: float) -> bool:
        """Return whether nobody was refused, all is counted once, and no gap was longer."""
        return not self.refused and not self.problems and self.gap <= longest


def run(service: Service, case: Case, clients: int) -> Run:
    """Let something fail under so many clients of each kind, and return what they saw.

    :raises LabError: hits are not served, before or after.
    """
    # Of a name's characters a counter's name has few.
    word = re.sub(r"[^a-z]+", "-", case.name.lower())
    names = [f"{word}-{uuid.uuid4().hex[:8]}-{kind}" for kind in "pk"]

    service.counters.make(names)

    def sender(name: str) -> hits.Send:
        return lambda key: service.send(name, key)

    with (
        hits.traffic(sender(names[0]), clients) as plain,
        hits.traffic(sender(names[1]), clients, keyed=True) as keyed,
    ):
        both = (plain, keyed)
        _served(both)
        begun = time.monotonic()
        what = case.harm()
        _served(both)
        ended = time.monotonic()
    case.recover()
    values = service.counters.values()
    held = [(each, values[name]) for each, name in zip(both, names, strict=True)]
    return Run(
        case=case.name,
        what=what,
        gap=max(gap(each, begun, ended) for each in both),
        wait=max(each.longest_wait for each in both),
        acknowledged=sum(len(each.values) for each in both),
        refused=sum(each.refused - each.unsaid for each in both),
        unsure=sum(each.unsure for each in both),
        lost=sum(each.lost(count) for each, count in held),
        doubled=sum(each.surplus(count) for each, count in held),
        problems=[problem for each, count in held for problem in each.problems(count)],
    )


def gap(traffic: Traffic, begun: float, ended: float) -> float:
    """Return the longest time between two acknowledgements that ended after ``begun``.

    :param ended: when clients ceased to send anything new: what comes later ends no gap.
    """
    times = sorted(at for at in traffic.acknowledged_at if at <= ended)
    return max((b - a for a, b in zip(times, times[1:], strict=False) if b > begun), default=0.0)


def _served(both: Sequence[Traffic]) -> None:
    wanted = [len(each.values) + ENOUGH for each in both]
    ends = time.monotonic() + PATIENCE
    while any(len(each.values) < enough for each, enough in zip(both, wanted, strict=True)):
        if time.monotonic() > ends:
            last = [failure for each in both for failure in each.failures[-1:]]
            raise LabError(
                f"Hits are not acknowledged any more after {PATIENCE:g} s;"
                f" last: {'; '.join(last) or 'no answer'}."
            )
        time.sleep(hits.PACE)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values, from 0 to 1, does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def surely(good: int, runs: int, confidence: float = 0.95) -> float:
    """Return the share of good runs, from 0 to 1, that there is at least with this confidence.

    That is the one at which so many of them or more would be good by chance in 5 % of all series
    (Clopper and Pearson).
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        share = (low + high) / 2
        chance = sum(
            math.comb(runs, k) * share**k * (1 - share) ** (runs - k) for k in range(good, runs + 1)
        )
        if chance < 1 - confidence:
            low = share
        else:
            high = share
    return low
