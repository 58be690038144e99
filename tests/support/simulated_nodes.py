"""What runs on the nodes of a simulated fleet, and how each function that is asked changes it."""

import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: What a node has of each role, as SLS; a part is one that can change by itself.
PARTS = {
    "base": ("base.hosts",),
    "gluster": ("gluster.install", "gluster.mount"),
    "storage": ("storage.install", "storage.volume"),
    "db": ("db.install", "db.config", "db.service"),
    "web": ("web.install", "web.config", "web.release"),
    "lb": ("lb.install", "lb.haproxy", "lb.keepalived"),
}
#: What nothing that runs depends on yet; all of a role's first part too where a node is fresh.
PREPARED = ("base.hosts", "gluster.install", "storage.install")
#: Seconds for which a state run, a start of mongod, of the app and an election take.
RUN, MONGOD, APP, ELECTION, CHECK = 1.0, 2.0, 1.5, 1.0, 1.0


class Unknown(BaseException):
    """A function was asked for that the simulation does not have."""


class Failed(Exception):
    """What a function on a node says when it cannot."""


class Clock:
    """Time that passes when somebody waits, with what happens in it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.after: Callable[[], None] = lambda: None
        self._events: list[tuple[float, int, list[Callable[[], None]]]] = []
        self._count = 0
        # The preflight asks from several threads.
        self._turn = threading.RLock()

    def at(self, delay: float, action: Callable[[], None]) -> list[Callable[[], None]]:
        """Have something happen; the list that is returned can be emptied to cancel it."""
        handle = [action]
        with self._turn:
            self._count += 1
            heapq.heappush(self._events, (self.now + delay, self._count, handle))
        return handle

    def advance(self, seconds: float) -> None:
        with self._turn:
            end = self.now + seconds
            while self._events and self._events[0][0] <= end:
                self._next()
            self.now = end

    def step(self) -> None:
        """Go to the next thing that happens."""
        with self._turn:
            self._next()

    def _next(self) -> None:
        when, _count, handle = heapq.heappop(self._events)
        self.now = max(self.now, when)
        for action in handle:
            action()
        if handle:
            self.after()


@dataclass
class Node:
    """A node, and what runs on it."""

    id: str
    address: str
    roles: list[str]
    #: What it has of each part.
    has: dict[str, str] = field(default_factory=dict)
    #: The digest of the modules that its minion has loaded.
    modules: str = ""
    #: Whether its minion answers.
    answers: bool = True
    #: Jobs that apply states; one at a time, the others wait for it.
    busy: int = 0
    # mongod
    mongod: str = "SECONDARY"
    # The app
    ready: bool = True
    # HAProxy: by server ``admin``, ``weight``, ``sessions``; keepalived
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    haproxy: bool = True
    keepalived: bool = True

    def parts(self) -> list[str]:
        groups = ["base", "gluster", *(role for role in self.roles if role in PARTS)]
        return [part for group in groups for part in PARTS[group]]
