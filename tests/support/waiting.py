"""How tests wait: they look again and again, and say what they saw when the time is over."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# Enough to see a table of gluster or the end of a log, too little to hide the rest of a report.
SHOWN = 3000
# Seconds; what comes meanwhile is seen this late.
LONGEST_PAUSE = 2.0
# How many times longer everything may take because other lanes want the processors too; set by
# tests.lanes, which knows. Waiting costs nothing where it ends with what is waited for.
PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))


def until(
    look: Callable[[], T],
    timeout: float,
    what: str,
    *,
    wanted: T | Callable[[T], object] = bool,
    interval: float = 0.05,
    ignoring: tuple[type[Exception], ...] = (),
) -> T:
    """Look until what is seen is what is wanted, and return that.

    The last look begins after the time is over: a slow machine gets it in any case.

    :param timeout: seconds, on a machine that does nothing else; beside other lanes it is
        ``PATIENCE`` times as long. What must be so within a time is not to be tested with this.
    :param what: what is waited for, as a sentence: "db-3 is disconnected".
    :param wanted: the result that ``look`` shall have, or a function that tells whether one is
        good; any true one is, when it is left out.
    :param interval: seconds between two looks, at the least: a look that takes long is followed by
        a pause that is twice as long, so that looking does not keep a small machine from getting
        on with what is waited for.
    :param ignoring: exceptions of ``look`` and ``wanted`` that count as a no.
    :raises AssertionError: the time is over; it says what was waited for and what was seen last.
    """
    timeout *= PATIENCE
    end = time.monotonic() + timeout
    while True:
        begun = time.monotonic()
        late = begun >= end
        seen: object
        try:
            seen = found = look()
            if wanted(found) if callable(wanted) else found == wanted:
                return found
        except ignoring as error:
            seen = error
        if late:
            raise AssertionError(f"not within {timeout:g} s: {what}; last seen: {_shown(seen)}")
        took = time.monotonic() - begun
        time.sleep(max(interval, min(2 * took, LONGEST_PAUSE)))


def _shown(seen: object) -> str:
    text = repr(seen)
    half = SHOWN // 2
    return text if len(text) <= SHOWN else f"{text[:half]} … {text[-half:]}"
