"""Many callers, one write at a time: who comes while a write is on its way shares the next one."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from counterapp.counters import Overloaded, StoreUnavailable

T = TypeVar("T")
R = TypeVar("R")

Commit = Callable[[Sequence[T], float], Sequence[R | Exception]]
"""Writes items, until a ``time.monotonic()``, and returns for each its result or its error."""

CROWD = 4
"""Items in one write from which on it is worth while to let more of them come."""


class _Waiter(Generic[T, R]):
    __slots__ = ("answer", "deadline", "done", "item")

    def __init__(self, item: T, deadline: float) -> None:
        self.item = item
        self.deadline = deadline
        self.answer: R | Exception | None = None
        # A plain lock is the cheapest thing that one thread can wait for and another can open.
        self.done = threading.Lock()
        self.done.acquire()


class Combiner(Generic[T, R]):
    """Hands items to ``commit`` in batches, in the order in which they came.

    The batches follow each other without overlap, on a thread of their own that the first item
    starts (threads must not be made before a fork).

    :param commit: called with at least one item; what it raises, every item's caller gets.
    :param waiting: how many items may wait, those on their way included; more are refused.
    :param batch: how many items may share one write.
    :param timeout: seconds that a caller waits at most.
    :param pace: seconds between the beginnings of two writes at least, while ``CROWD`` or more
        items share one.
    """

    def __init__(
        self,
        commit: Commit[T, R],
        *,
        waiting: int,
        batch: int,
        timeout: float,
        name: str,
        pace: float = 0,
    ) -> None:
        self._commit = commit
        self._limit = waiting
        self._batch = batch
        self._timeout = timeout
        self._name = name
        self._pace = pace
        self._pending: deque[_Waiter[T, R]] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._closing = threading.Event()

    @property
    def waiting(self) -> int:
        """How many callers wait right now."""
        return self._waiting

    def submit(self, item: T) -> R:
        """Have ``item`` committed with others and return its result, or raise its error.

        :raises Overloaded: too many wait already; the item was not even queued.
        :raises StoreUnavailable: its turn did not come in time, or its write was begun and has not
            ended in time.
        """
        waiter: _Waiter[T, R] = _Waiter(item, time.monotonic() + self._timeout)
        with self._changed:
            if self._closed:
                raise StoreUnavailable("The server is stopping")
            if self._waiting >= self._limit:
                raise Overloaded("Too many hits wait for the database already")
            self._waiting += 1
            self._pending.append(waiter)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            if not waiter.done.acquire(timeout=self._timeout):
                self._give_up(waiter)
        finally:
            with self._changed:
                self._waiting -= 1
        if isinstance(waiter.answer, Exception):
            raise waiter.answer
        return waiter.answer  # type: ignore[return-value]  # set before `done` was opened

    def close(self) -> None:
        """Take nothing more; what waits is still committed. Returns when that is done."""
        with self._changed:
            self._closed = True
            self._closing.set()
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _give_up(self, waiter: _Waiter[T, R]) -> None:
        with self._changed:
            try:
                self._pending.remove(waiter)
            except ValueError:
                pass  # its batch is on the way, or has just come back
            else:
                raise StoreUnavailable("The database was too slow, the hit was not counted")
        if not waiter.done.acquire(blocking=False):
            raise StoreUnavailable("The database did not answer in time")

    def _run(self) -> None:
        while batch := self._take():
            begun = time.monotonic()
            try:
                answers = self._commit(
                    [waiter.item for waiter in batch], max(waiter.deadline for waiter in batch)
                )
            except Exception as error:
                answers = [error] * len(batch)
            for waiter, answer in zip(batch, answers, strict=True):
                waiter.answer = answer
                waiter.done.release()
            if len(batch) >= CROWD:
                self._closing.wait(begun + self._pace - time.monotonic())

    def _take(self) -> list[_Waiter[T, R]]:
        with self._changed:
            while not self._pending:
                if self._closed:
                    return []
                self._changed.wait()
            size = min(len(self._pending), self._batch)
            return [self._pending.popleft() for _ in range(size)]
