"""Many callers, one write at a time: who comes while a write is on its way shares the next one."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from counterapp import presence
from counterapp.counters import StoreUnavailable
from counterapp.gate import Gate

T = TypeVar("T")
R = TypeVar("R")

Commit = Callable[[Sequence[T], float], Sequence[R | Exception]]
"""Writes items, until a ``time.monotonic()``, and returns for each its result or its error."""

CROWD = 4
"""Items in one write from which on it is worth while to let more of them come."""

LONGEST_REST = 0.1
"""Seconds after which the next write begins in any case, however long the last one took."""

LOOK = 0.5
"""Seconds after which it is looked whether who waits is still there, again and again: so nearly
nobody is looked at but while the database lets them wait."""


class _Waiter(Generic[T, R]):
    __slots__ = ("answer", "deadline", "done", "gone", "item", "waits")

    def __init__(self, item: T, deadline: float) -> None:
        self.item = item
        self.deadline = deadline
        self.waits = True
        self.gone = presence.gone.get()
        self.answer: R | Exception | None = None
        # A plain lock is the cheapest thing that one thread can wait for and another can open.
        self.done = threading.Lock()
        self.done.acquire()


class Combiner(Generic[T, R]):
    """Hands items to ``commit`` in batches, in the order in which they came.

    The batches follow each other without overlap, on a thread of their own. Another one sends away
    who has waited long enough, or has hung up: a timeout for each caller would cost him more than
    all else here.
    The first item starts both (threads must not be made before a fork).

    :param commit: called with at least one item; what it raises, every item's caller gets.
    :param gate: where whoever waits is inside, from his item's coming to its answer.
    :param batch: how many items may share one write.
    :param timeout: seconds that a caller waits at most.
    :param pace: seconds between the beginnings of two writes at least, while ``CROWD`` or more
        items share one. If one took more than half of that, the next comes after a rest as long.
    """

    def __init__(
        self,
        commit: Commit[T, R],
        *,
        gate: Gate,
        batch: int,
        timeout: float,
        name: str,
        pace: float = 0,
    ) -> None:
        self._commit = commit
        self._gate = gate
        self._batch = batch
        self._timeout = timeout
        self._name = name
        self._pace = pace
        # What follows, down to the threads, changes under the lock only.
        self._lock = threading.Lock()
        self._pending: deque[_Waiter[T, R]] = deque()
        self._written: list[_Waiter[T, R]] = []
        self._threads: list[threading.Thread] = []
        # Set when there is something to write, or nothing will come any more.
        self._there = threading.Event()
        # Set under the lock, too.
        self._closing = threading.Event()
        self._ended = threading.Event()

    def submit(self, item: T) -> R:
        """Have ``item`` committed with others and return its result, or raise its error.

        :raises Overloaded: too many wait already; the item was not even queued.
        :raises StoreUnavailable: its turn did not come in time, or its write was begun and has not
            ended in time; or the client has hung up meanwhile.
        """
        waiter: _Waiter[T, R] = _Waiter(item, time.monotonic() + self._timeout)
        with self._lock:
            if self._closing.is_set():
                raise StoreUnavailable("The server is stopping")
            self._gate.enter()
            self._pending.append(waiter)
            first = len(self._pending) == 1
            if not self._threads:
                self._start()
        if first:
            self._there.set()
        try:
            waiter.done.acquire()
        except BaseException:
            # The caller is ended from outside, as at the end of a stop.
            self._withdraw(waiter)
            raise
        if isinstance(waiter.answer, Exception):
            raise waiter.answer
        return waiter.answer  # type: ignore[return-value]  # set before `done` was opened

    def close(self) -> None:
        """Take nothing more; what waits is still committed. Returns when that is done."""
        with self._lock:
            self._closing.set()
            threads = self._threads
        self._there.set()
        for thread in threads:
            thread.join()

    def _start(self) -> None:
        for name, run in ((self._name, self._run), (f"{self._name}-late", self._send_away)):
            self._threads.append(threading.Thread(target=run, name=name, daemon=True))
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while batch := self._take():
            begun = time.monotonic()
            try:
                answers = self._commit(
                    [waiter.item for waiter in batch], max(waiter.deadline for waiter in batch)
                )
            except Exception as error:
                answers = [error] * len(batch)
            with self._lock:
                for waiter, answer in zip(batch, answers, strict=True):
                    if waiter.waits:
                        self._settle(waiter, answer)
            if len(batch) >= CROWD:
                # A database that is slow, or has much to do in each write, gets fewer of them.
                took = time.monotonic() - begun
                self._closing.wait(max(self._pace - took, min(took, LONGEST_REST)))
        self._ended.set()

    def _take(self) -> list[_Waiter[T, R]]:
        while True:
            self._there.clear()
            with self._lock:
                size = min(len(self._pending), self._batch)
                self._written = [self._pending.popleft() for _ in range(size)]
                if self._written or self._closing.is_set():
                    return self._written
            self._there.wait()

    def _send_away(self) -> None:
        pause = min(LOOK, self._timeout)
        while not self._ended.wait(pause):
            with self._lock:
                now = time.monotonic()
                self._dismiss(now)
                everybody = (*self._written, *self._pending)
                still = [waiter.deadline for waiter in everybody if waiter.waits]
                pause = min(LOOK, min(still, default=now + self._timeout) - now)

    def _dismiss(self, now: float) -> None:
        for waiter in self._written:
            if waiter.waits and waiter.deadline <= now:
                late = StoreUnavailable("The database did not answer in time")
                self._settle(waiter, late)
            elif waiter.waits and self._left(waiter, now):
                self._settle(waiter, StoreUnavailable("The client has hung up"))
        while self._pending and self._pending[0].deadline <= now:
            late = StoreUnavailable("The database was too slow, the hit was not counted")
            self._settle(self._pending.popleft(), late)
        for waiter in [waiter for waiter in self._pending if self._left(waiter, now)]:
            self._pending.remove(waiter)
            hung_up = StoreUnavailable("The client has hung up, the hit was not counted")
            self._settle(waiter, hung_up)

    def _left(self, waiter: _Waiter[T, R], now: float) -> bool:
        return now - (waiter.deadline - self._timeout) >= LOOK and waiter.gone()

    def _withdraw(self, waiter: _Waiter[T, R]) -> None:
        with self._lock:
            if waiter.waits:
                if waiter in self._pending:
                    self._pending.remove(waiter)
                self._settle(waiter, StoreUnavailable("Nobody waits any more"))

    def _settle(self, waiter: _Waiter[T, R], answer: R | Exception) -> None:
        waiter.answer = answer
        waiter.waits = False
        self._gate.leave()
        waiter.done.release()
