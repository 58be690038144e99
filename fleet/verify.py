"""Counting hits through the VIP, and seeing that exactly these were counted."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from typing import Any

from fleet import certificate, edge
from fleet import minions as asking
from fleet.errors import FleetError, refuse
from fleet.master import Master
from fleet.minions import Minions
from fleet.revision import Revision
from fleet.waiting import until

#: The counter that is hit; nobody else uses it.
COUNTER = "default/rollout-verify"
Ask = Callable[..., list[Any]]
#: Seconds until one request must be answered.
_PATIENCE = 15


def verify(
    master: Master,
    minions: Minions,
    revision: Revision,
    hits: int = 20,
    release: str | None = None,
    timeout: float = 30,
) -> dict[str, Any]:
    """
    Count hits through the VIP and see that exactly these were counted.

    master
        Who knows the certificate that the balancers show.
    minions
        How the web nodes are asked.
    revision
        Whose topology and settings the fleet has.
    hits
        How many hits to send to the counter, at least one.
    release
        The release that every web node must answer with. Default: the revision's.
    timeout
        Seconds until the VIP must answer at all.

    Returns ``url``, ``hits``, ``by_node`` (who counted how many) and ``release``.

    Raises FleetError when a hit was counted twice or not at all, or the VIP does not answer, or
    for each web node that is not ready or answers with another release.
    """
    if hits < 1:
        raise FleetError(f"hits must be a whole number from 1 on, not {hits!r}")
    expected = release or revision.release
    address = edge.url(revision.topology, revision.settings)
    ask = partial(_request, certificate.opener(master, revision.settings))
    _await_answer(ask, address, timeout)
    by_node = _count(ask, address, hits)
    webs = revision.with_role("web")
    refuse(
        problem
        for node, health in asking.ask(minions, webs, "counterapp.health").items()
        if (problem := _problem(node, health, expected))
    )
    return {"url": address, "hits": hits, "by_node": by_node, "release": expected}


def _problem(node: str, health: dict[str, Any], release: str) -> str | None:
    if not health["ready"]:
        return f"{node}: it is not ready: {health['reason']}"
    if health["release"] != release:
        return f"{node}: it answers with {health['release']}, not {release}"
    return None


def _count(ask: Ask, address: str, hits: int) -> dict[str, int]:
    """Hit the counter, and return how many hits each node has counted."""
    counter = f"{address}api/v1/counters/{COUNTER}"
    before = 0
    by_node: dict[str, int] = {}
    for number in range(1, hits + 1):
        value, node = ask("POST", f"{counter}/hits", "value", "node")
        by_node[node] = by_node.get(node, 0) + 1
        if number == 1:
            # A counter that nobody has hit yet does not exist: the first hit tells where it stood.
            # Nobody else counts on it, since only one change runs at a time.
            before = value - 1
        if value != before + number:
            raise FleetError(
                f"hit {number} through {address} made the count {value}, not {before + number}"
            )
    [after] = ask("GET", counter, "value")
    if after != before + hits:
        raise FleetError(f"{hits} hits through {address} moved the count from {before} to {after}")
    return by_node


def _await_answer(ask: Ask, address: str, timeout: float) -> None:
    def look() -> tuple[bool, str]:
        try:
            ask("GET", f"{address}readyz")
        except FleetError as error:
            return False, str(error)
        return True, "it answers"

    until(look, timeout, f"{address} answers")


def _request(
    opener: urllib.request.OpenerDirector, method: str, address: str, *keys: str
) -> list[Any]:
    """Return the values of keys of the JSON that a request is answered with."""
    request = urllib.request.Request(address, method=method, data=b"" if method == "POST" else None)
    try:
        with opener.open(request, timeout=_PATIENCE) as answer:
            found = json.loads(answer.read())
        return [found[key] for key in keys]
    except urllib.error.HTTPError as error:
        with error:
            raise FleetError(f"{method} {address} was answered with {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        raise FleetError(f"{method} {address} failed: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FleetError(f"{method} {address} was not answered by the app: {error!r}") from error
