"""Waiting for a condition, and saying what was seen when it did not come."""

import time
from collections.abc import Callable

from fleet.errors import FleetError

#: Seconds between two looks.
PAUSE = 0.5


def until(
    look: Callable[[], tuple[bool, str]],
    timeout: float,
    what: str,
    tell: Callable[[str], None] | None = None,
) -> str:
    """
    Look until it is so, and return what was seen then.

    look
        Returns whether it is so, and what it saw, in words.
    timeout
        Seconds; the last look begins when they are over.
    what
        What is waited for, as a sentence.
    tell
        Gets what was seen each time that it has changed.

    Raises FleetError with what was waited for and what was seen last.
    """
    deadline = time.monotonic() + timeout
    told = None
    while True:
        late = time.monotonic() >= deadline
        done, seen = look()
        if done:
            return seen
        if late:
            raise FleetError(f"not within {timeout:g} s: {what}; last seen: {seen}")
        if tell and seen != told:
            tell(seen)
            told = seen
        time.sleep(PAUSE)
