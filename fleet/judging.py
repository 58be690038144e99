"""
Whether a canary is worse than the others, by numbers alone: what ``fleet.canary`` goes by.

**Errors** are judged by Wald's sequential probability ratio test on counts. It weighs "0.1 % of the
requests fail" against "5 % fail": each failure adds ln(0.05 / 0.001) = 3.9 to the evidence, each
success takes 0.05 from it. At ln(0.99 / 0.001) = 6.9 the canary is bad, at ln(0.01 / 0.999) = -4.6
it is good, which takes 92 successes without a failure. So a canary with 0.1 % failures is called
bad once in a thousand times, and one with 5 % good once in a hundred, however often one looks. The
two rates are what an operator would take for healthy and for broken; the others are the usual ones
(Nomad, Flagger and Kayenta let an operator choose them, and come with 1 % to 5 %).

Two things are added. Evidence never falls below the lower bound: what went well for an hour is no
credit for a leak that begins then. And failures that all servers have in common, as when the
database elects a primary, are not the canary's: bad is one only when the others do better by
Fisher's exact test (one-sided, 1 %). Where they do not, nothing is decided. Without any request to
the others there is nothing to compare, and the sequential test stands alone.

**Latency** is judged by the application's histograms, route by route, since a canary may have been
asked for other things than the others: by the Mann-Whitney test on the counts of the buckets, with
ties, its routes combined as van Elteren does. It is slower when that says so with a confidence of
98 %, and its mean, which is exact where buckets are coarse, is above the others' by a tolerance
(25 %, as Kayenta has it) and by a time that anybody would notice. The rank test alone would call
slower what differs by nothing that matters; the mean alone would go by a single request that hung.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import NormalDist

#: Parts of the requests that fail on a server that is healthy, and on one that is not.
HEALTHY, BROKEN = 0.001, 0.05
#: How often a healthy canary may be called bad, and a broken one good.
ALPHA, BETA = 0.001, 0.01
#: The evidence at which it is called good, and bad.
LOWER, UPPER = math.log(BETA / (1 - ALPHA)), math.log((1 - BETA) / ALPHA)
#: How often others that are no better may seem to be.
COMMON = 0.01
#: How sure it must be that a canary is slower.
CONFIDENCE = 0.98
#: Requests that the canary, and the others, must have had for their latency to be compared.
ENOUGH = 50

_FAILURE = math.log(BROKEN / HEALTHY)
_SUCCESS = math.log((1 - BROKEN) / (1 - HEALTHY))


class Verdict(StrEnum):
    """What is known of a canary."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass
class Count:
    """Requests, and how many of them failed."""

    requests: int = 0
    failed: int = 0

    def add(self, requests: int, failed: int) -> None:
        """
        Count more of them.

        Raises ValueError for numbers that cannot be.
        """
        if not 0 <= failed <= requests:
            raise ValueError(f"{failed} of {requests} requests cannot have failed")
        self.requests += requests
        self.failed += failed

    def __str__(self) -> str:
        return f"{self.failed} of {self.requests}"


@dataclass
class Errors:
    """The failures of a canary and of the others, from one source of requests."""

    canary: Count = field(default_factory=Count)
    others: Count = field(default_factory=Count)
    #: The logarithm of the likelihood ratio, not below ``LOWER``.
    evidence: float = 0.0

    def add(self, requests: int, failed: int) -> None:
        """Count requests to the canary."""
        self.canary.add(requests, failed)
        gained = failed * _FAILURE + (requests - failed) * _SUCCESS
        self.evidence = max(self.evidence + gained, LOWER)

    @property
    def to_blame(self) -> bool:
        """Whether the others do better, or there are none to compare with."""
        if not self.others.requests:
            return True
        return chance(self.canary, self.others) < COMMON

    @property
    def verdict(self) -> Verdict:
        if self.evidence >= UPPER:
            return Verdict.FAIL if self.to_blame else Verdict.INCONCLUSIVE
        # Above the lower bound by rounding alone.
        return Verdict.PASS if self.evidence <= LOWER + 1e-9 else Verdict.INCONCLUSIVE

    @property
    def doubtful(self) -> bool:
        """Whether what is known speaks rather against the canary."""
        return self.evidence > 0

    def __str__(self) -> str:
        return f"{self.canary} failed, {self.others} on the others"


def chance(canary: Count, others: Count) -> float:
    """
    Return how probable it is that so many failures, or more, fall to the canary by chance.

    This is Fisher's exact test, one-sided: of all requests the canary has a part, and the failures
    fall to any of them alike.
    """
    requests, failed = canary.requests + others.requests, canary.failed + others.failed
    highest = min(failed, canary.requests)
    whole = _choose(requests, failed)
    return min(
        1.0,
        math.fsum(
            math.exp(
                _choose(canary.requests, mine) + _choose(others.requests, failed - mine) - whole
            )
            for mine in range(canary.failed, highest + 1)
            if failed - mine <= others.requests
        ),
    )


def _choose(whole: int, part: int) -> float:
    return math.lgamma(whole + 1) - math.lgamma(part + 1) - math.lgamma(whole - part + 1)


@dataclass(frozen=True)
class Histogram:
    """
    How long requests of a route took.

    counts
        By the upper bound of each bucket in seconds, how many requests fell into that bucket.
    seconds
        All of them together.
    """

    counts: Mapping[float, int]
    seconds: float

    @property
    def requests(self) -> int:
        return sum(self.counts.values())

    def plus(self, other: "Histogram") -> "Histogram":
        """Return both together."""
        bounds = sorted({*self.counts, *other.counts})
        return Histogram(
            {bound: self.counts.get(bound, 0) + other.counts.get(bound, 0) for bound in bounds},
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Latency:
    """
    The latency of a canary beside that of the others, for what both were asked.

    canary, others
        Seconds in the mean; the others' as if they had been asked for each route as often.
    z
        How far the canary's ranks are above the others', in standard deviations.
    enough
        Whether both had requests enough to be compared.
    """

    canary: float
    others: float
    z: float
    enough: bool

    def slower(self, tolerance: float, noticeable: float) -> bool:
        """Tell whether the canary is slower, by more than a part and by so many seconds."""
        return (
            self.enough
            and self.z > NormalDist().inv_cdf(CONFIDENCE)
            and self.canary > self.others * (1 + tolerance)
            and self.canary > self.others + noticeable
        )

    def __str__(self) -> str:
        if not self.enough:
            return "too few requests to compare latency"
        return f"{self.canary * 1000:.0f} ms in the mean, the others {self.others * 1000:.0f} ms"


def latency(canary: Mapping[str, Histogram], others: Mapping[str, Histogram]) -> Latency:
    """Compare histograms by route; a route that only one side was asked for is left out."""
    mine = theirs = 0
    own, expected, above, variance = 0.0, 0.0, 0.0, 0.0
    for route in canary.keys() & others.keys():
        one, other = canary[route], others[route]
        if not one.requests or not other.requests:
            continue
        mine, theirs = mine + one.requests, theirs + other.requests
        own += one.seconds
        expected += other.seconds / other.requests * one.requests
        shift, spread = _ranks(one, other)
        weight = 1 / (one.requests + other.requests + 1)
        above += weight * shift
        variance += weight**2 * spread
    return Latency(
        own / mine if mine else 0.0,
        expected / mine if mine else 0.0,
        above / math.sqrt(variance) if variance else 0.0,
        mine >= ENOUGH and theirs >= ENOUGH,
    )


def _ranks(one: Histogram, other: Histogram) -> tuple[float, float]:
    """Return Mann-Whitney's U above its expectation, and its variance, with the ties of buckets."""
    below, score, ties = 0, 0.0, 0.0
    for bound in sorted({*one.counts, *other.counts}):
        mine, theirs = one.counts.get(bound, 0), other.counts.get(bound, 0)
        score += mine * (below + theirs / 2)
        below += theirs
        ties += (mine + theirs) ** 3 - (mine + theirs)
    whole = one.requests + other.requests
    pairs = one.requests * other.requests
    spread = pairs / 12 * (whole + 1 - ties / (whole * (whole - 1)))
    return score - pairs / 2, max(spread, 0.0)
