"""A gate through which only so many pass at a time; others are sent away at once."""

import threading

from counterapp.counters import Overloaded


class Gate:
    """Context for what waits for the database.

    :param most: how many may be inside.
    :param refusal: what those are told who are too much.
    """

    def __init__(
        self, most: int, refusal: str = "Too many requests wait for the database already"
    ) -> None:
        self._most = most
        self._refusal = refusal
        self._lock = threading.Lock()
        self._inside = 0

    @property
    def inside(self) -> int:
        """How many are inside right now."""
        return self._inside

    def enter(self) -> None:
        """Go in, and ``leave`` later; raises :class:`Overloaded` where there is no place."""
        with self._lock:
            if self._inside >= self._most:
                raise Overloaded(self._refusal)
            self._inside += 1

    def leave(self) -> None:
        """Go out."""
        with self._lock:
            self._inside -= 1

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_: object) -> None:
        self.leave()


def hits(most: int) -> Gate:
    """Return the gate for hits of all lines together, each of which holds a client."""
    return Gate(most, "Too many hits wait for the database already, the hit was not counted")
