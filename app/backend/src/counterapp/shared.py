"""An answer that is looked up once for all who ask meanwhile, and given again for a while."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """What ``look`` returns, or raises, at most once at a time.

    :param age: seconds for which an answer is given again; after an error the next one who comes
        looks again, but those who waited for it get it, too.
    """

    def __init__(self, look: Callable[[], T], age: float) -> None:
        self._look = look
        self._age = age
        self._lock = threading.Lock()
        self._known: tuple[float, T] | None = None
        self._under_way: _Look[T] | None = None

    def get(self) -> T:
        """Return the answer."""
        with self._lock:
            if self._known is not None and time.monotonic() < self._known[0]:
                return self._known[1]
            mine = self._under_way
            if first := mine is None:
                mine = self._under_way = _Look()
        assert mine is not None
        if first:
            self._run(mine)
        return mine.result()

    def _run(self, mine: "_Look[T]") -> None:
        try:
            mine.answer = self._look()
        except BaseException as error:
            mine.error = error
        with self._lock:
            self._under_way = None
            if mine.error is None and mine.answer is not None:
                self._known = time.monotonic() + self._age, mine.answer
        mine.done.set()


class _Look(Generic[T]):
    """One look, for all who wait for it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: T | None = None
        self.error: BaseException | None = None

    def result(self) -> T:
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.answer  # type: ignore[return-value]  # there is one, or an error
