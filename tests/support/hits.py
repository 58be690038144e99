"""What clients were told of each hit that they sent, and whether a count fits that.

A hit is acknowledged, refused for certain, or unsure: nobody told its client whether it is counted.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
import urllib3

# In the app's own words, of a hit that it has given up before it was written.
NOT_COUNTED = "not counted"
# In the balancer's. A hit with a key may have been sent to another server before.
NOT_SENT = "No server is ready to answer"
# Seconds between two hits of a client, as an ordinary one has it: this is about order, not load.
PACE = 0.05
# Seconds for which keys are still sent when nothing new is: a test may end because nobody answers.
GOODWILL = 60.0

# Sends a hit, with an ``Idempotency-Key`` or without.
Send = Callable[[str | None], requests.Response]


@dataclass
class Traffic:
    """What clients of the VIP saw: the value of each acknowledged hit, and every failure."""

    values: list[int] = field(default_factory=list)
    nodes: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    # When each failed one was sent, on the clock of this machine's kernel, which nodes share.
    failed_at: list[float] = field(default_factory=list)
    # When each acknowledgement came, in their order and on the same clock.
    acknowledged_at: list[float] = field(default_factory=list)
    # The value of each acknowledged hit that had an ``Idempotency-Key``, by that.
    keys: dict[str, int] = field(default_factory=dict)
    # How many requests were answered with an error; and with one that does not tell whether the hit
    # is counted, which had no key, so that nobody could send it again.
    refused: int = 0
    unsaid: int = 0
    # The longest time, in seconds, from a hit's first request to its acknowledgement.
    longest_wait: float = 0.0
    _open: set[str] = field(default_factory=set)
    _unsure: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def unsure(self) -> int:
        """How many hits may be counted or not: those with a key once, however often sent."""
        return self._unsure + len(self._open)

    @property
    def longest_gap(self) -> float:
        """The longest time, in seconds, between two acknowledgements."""
        times = self.acknowledged_at
        return max((b - a for a, b in zip(times, times[1:], strict=False)), default=0.0)

    def acknowledged(
        self, body: dict[str, Any], at: float, key: str | None = None, waited: float = 0.0
    ) -> None:
        """Note the answer to a hit.

        :param at: when it came; a clock that only goes on.
        :param waited: seconds since its first request.
        """
        with self._lock:
            self.values.append(body["value"])
            self.nodes[body["node"]] = self.nodes.get(body["node"], 0) + 1
            self.acknowledged_at.append(at)
            self.longest_wait = max(self.longest_wait, waited)
            if key is not None:
                self.keys[key] = body["value"]
                self._open.discard(key)

    def failed(self, error: requests.RequestException, sent: float, key: str | None = None) -> None:
        """Note that no acknowledgement came to a hit.

        :param sent: when it was sent; a clock that only goes on.
        """
        with self._lock:
            self.failures.append(f"{type(error).__name__}: {error}")
            self.failed_at.append(sent)
            self.refused += error.response is not None
            if is_refusal(error, keyed=key is not None):
                return
            if key is None:
                self._unsure += 1
                self.unsaid += error.response is not None
            else:
                self._open.add(key)

    def lost(self, count: int) -> int:
        """Return how many acknowledged hits a count lacks at least."""
        return max(0, len(self.values) - count)

    def surplus(self, count: int) -> int:
        """Return how many hits are counted that nobody made, or twice, at least."""
        return max(0, count - len(self.values) - self.unsure)

    def problems(self, count: int) -> list[str]:
        """Return in how far the count of the counter, which no one else has hit, is wrong."""
        acknowledged, found = len(self.values), []
        if lost := self.lost(count):
            found.append(f"{lost} of {acknowledged} acknowledged hits are lost")
        if more := self.surplus(count):
            found.append(
                f"{more} hits are counted that nobody made: {count}, with {acknowledged} "
                f"acknowledged and {self.unsure} unsure"
            )
        if twice := acknowledged - len(set(self.values)):
            found.append(f"{twice} hits were given a value that another one had")
        if above := [value for value in self.values if value > count]:
            found.append(f"{len(above)} hits were given values above the count: {max(above)}")
        return found


@contextmanager
def traffic(send: Send, clients: int = 3, keyed: bool = False) -> Iterator[Traffic]:
    """Send hits for as long as the block runs; a failure is noted and the client goes on.

    :param send: is called by many threads at once.
    :param keyed: each hit has an ``Idempotency-Key`` and is sent until it is acknowledged; one that
        is not within a minute of the block's end stays unsure.
    """
    found = Traffic()
    stop, give_up = threading.Event(), threading.Event()

    def client() -> None:
        while not stop.is_set():
            hit(send, found, str(uuid.uuid4()) if keyed else None, give_up)
            stop.wait(PACE)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client) for _ in range(clients)]
        try:
            yield found
        finally:
            stop.set()
            wait(running, timeout=GOODWILL)
            give_up.set()
        for each in running:
            each.result()


def hit(
    send: Send, found: Traffic, key: str | None = None, give_up: threading.Event | None = None
) -> None:
    """Send a hit and note what came of it; with a key until it is acknowledged or given up."""
    begun = time.monotonic()
    while True:
        sent = time.monotonic()
        try:
            response = send(key)
            response.raise_for_status()
            body = response.json()
            break
        except requests.RequestException as error:
            found.failed(error, sent, key)
            if key is None or (give_up and give_up.is_set()):
                return
            time.sleep(PACE)
    ended = time.monotonic()
    found.acknowledged(body, ended, key, ended - begun)


def is_refusal(error: requests.RequestException, keyed: bool = False) -> bool:
    """Tell whether a hit that ended with an error is not counted for certain.

    A 503 says nothing of that in itself, and neither does a connection that was cut.

    :param keyed: whether it had an ``Idempotency-Key``: the balancer sends those again itself.
    """
    if isinstance(error, requests.ConnectTimeout):
        return True
    if isinstance(error, requests.ConnectionError):
        cause = error.args[0] if error.args else None
        return isinstance(getattr(cause, "reason", None), urllib3.exceptions.NewConnectionError)
    response = error.response
    if response is None:
        return False
    detail = _detail(response)
    if NOT_SENT in detail:
        return not keyed
    return 400 <= response.status_code < 500 or NOT_COUNTED in detail


def _detail(response: requests.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return ""
