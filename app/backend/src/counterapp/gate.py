"""A gate through which only so many pass at a time; others are sent away at once."""

import threading

from counterapp.counters import Overloaded


class Gate:
    """Context for what waits for the database.

    :param most: how many may be inside.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside >= self._most:
                raise Overloaded("Too many requests wait for the database already")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
