"""
Work that can wait, beside what clients wait for: the processors are others' first.

Linux has a priority for each thread, so that nothing else in the process is slowed down; threads
that the work begins have it, too. It counts among those of one control group alone, and who serves
has one of its own under systemd. So the work also rests three times as long as it has computed, a
little at a time: a client that comes meanwhile finds the processor free, or soon so.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

#: Still a tenth of a processor where somebody else computes on it for ever: a dump that never got
#: on would want more of the oplog than there is.
NICE = 10
#: Seconds of rest for each second that was computed.
RESTS = 3.0
#: Seconds of computing for which a rest is too short to be one.
LEAST = 0.002


@contextlib.contextmanager
def work() -> Iterator[Callable[[], None]]:
    """Have the block's thread compute when nobody else wants to, or nearly.

    Yields what the block calls between two small parts of its work, so that it rests. What it has
    waited for is no work: on a busy machine it takes hardly longer for its rests.
    """
    thread = threading.get_native_id()
    before = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, max(before, NICE))
    began = time.thread_time()

    def rest() -> None:
        nonlocal began
        computed = time.thread_time() - began
        if computed >= LEAST:
            time.sleep(RESTS * computed)
            began = time.thread_time()

    try:
        yield rest
    finally:
        # Who is not root may not; its job ends soon.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, thread, before)
