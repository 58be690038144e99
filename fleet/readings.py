"""
What balancers and applications have counted since a canary is watched.

HAProxy's figures have to be read with care. What another server has answered at last is not among a
server's errors: such a request counts as redispatched (``wredis``), or as retried (``wretr``) when
it came to the same one again. But so does a file of the page that is not in a server's release and
is asked of another server, which is as it should be; so those that the application found no route
for are taken off. A process of HAProxy, or of the application, that is new counts from nothing.
"""

import http.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet.judging import Count, Errors, Histogram

#: The counter that the floor's hits count on.
COUNTER = "default/rollout-canary"
#: Seconds in which a hit must be answered.
PATIENCE = 5.0


@dataclass
class _Total:
    """What a server's requests came to since the watch began, by all balancers together."""

    requests: int = 0
    errors: int = 0
    moved: int = 0
    foreign: int = 0

    @property
    def failed(self) -> int:
        return self.errors + max(self.moved - self.foreign, 0)


def grown(before: Mapping[str, int] | None, now: Mapping[str, int], anew: bool) -> dict[str, int]:
    """
    Return by how much counters have grown.

    before
        What they were, or None when this is the first look, which is compared with.
    anew
        Whether another process counts now, which began with nothing.
    """
    if before is None:
        return dict.fromkeys(now, 0)
    if anew or any(now[key] < before.get(key, 0) for key in now):
        return dict(now)
    return {key: now[key] - before.get(key, 0) for key in now}


@dataclass
class Traffic:
    """What clients asked of the canary and of the others, by HAProxy's counters."""

    node: str
    #: Whether the canary's application tells its numbers, and is one process that knows them all.
    whole: bool = True
    errors: Errors = field(default_factory=Errors)
    _balancers: dict[str, dict[str, Any]] = field(default_factory=dict)
    _totals: dict[str, _Total] = field(default_factory=dict)
    _seen: dict[str, Count] = field(default_factory=dict)

    def read(self, balancer: str, counters: Mapping[str, Any]) -> None:
        """Take what ``haproxy.counters`` of a balancer has returned."""
        before = self._balancers.get(balancer)
        anew = before is not None and before["process"] != counters["process"]
        for server, now in counters["servers"].items():
            figures = {key: value for key, value in now.items() if isinstance(value, int)}
            # Unless it is the first look, a server that is new in a configuration began with it.
            old = before["servers"].get(server, {}) if before else None
            more = grown(old, figures, anew)
            total = self._totals.setdefault(server, _Total())
            errors = more["hrsp_5xx"] + more["econ"] + more["eresp"]
            # Where files of another release cannot be told from failures, neither is counted.
            moved = max(more["wredis"], more["wretr"]) if self.whole else 0
            total.errors += errors
            total.moved += moved
            total.requests += more["answers"] + more["econ"] + more["eresp"] + moved
        self._balancers[balancer] = dict(counters)

    def found_no_route(self, server: str, requests: int) -> None:
        """Take how many more requests the application of a server found no route for."""
        self._totals.setdefault(server, _Total()).foreign += requests

    def judge(self) -> None:
        """Have what was read since the last time weighed."""
        for server, total in self._totals.items():
            seen = self._seen.setdefault(server, Count())
            # A request that was moved may be explained a look later: nothing is taken back.
            failed = max(total.failed - seen.failed, 0)
            requests = max(total.requests - seen.requests, failed)
            seen.add(requests, failed)
            if server == self.node:
                self.errors.add(requests, failed)
            else:
                self.errors.others.add(requests, failed)


@dataclass
class Durations:
    """How long the application took, by node and route, since the watch began."""

    _processes: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    routes: dict[str, dict[str, Histogram]] = field(default_factory=dict)

    def read(self, node: str, seen: Mapping[str, Any]) -> int:
        """
        Take what ``counterapp.latency`` of a node has returned.

        Returns how many more requests it found no route for.
        """
        key = (node, str(seen["process"]))
        before = self._processes.get(key)
        self._processes[key] = seen
        if before is None:
            # One of several processes, or one that is new: what it did before is not known.
            return 0
        mine = self.routes.setdefault(node, {})
        for route, now in seen["routes"].items():
            old = before["routes"].get(route, {"buckets": {}, "seconds": 0.0})
            more = _difference(old, now)
            mine[route] = mine[route].plus(more) if route in mine else more
        return max(int(seen["not_found"]) - int(before["not_found"]), 0)

    def of(self, nodes: Iterable[str]) -> dict[str, Histogram]:
        """Return the histograms of nodes together, by route."""
        found: dict[str, Histogram] = {}
        for node in nodes:
            for route, more in self.routes.get(node, {}).items():
                found[route] = found[route].plus(more) if route in found else more
        return found


def _difference(old: Mapping[str, Any], now: Mapping[str, Any]) -> Histogram:
    """Return what came between two readings of a histogram, whose buckets are cumulative."""
    counts: dict[float, int] = {}
    below = 0
    for bound, count in now["buckets"].items():
        since = int(count) - int(old["buckets"].get(bound, 0))
        counts[float(bound)] = since - below
        below = since
    return Histogram(counts, float(now["seconds"]) - float(old["seconds"]))


def hit(address: str, port: int, timeout: float = PATIENCE) -> bool:
    """Count a hit on a web server itself; tell whether it was acknowledged in time."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("POST", f"/api/v1/counters/{COUNTER}/hits")
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
