"""
Work that can wait, beside what clients wait for: the processors are others' first.

Linux has a priority for each thread, so that nothing else in the process is slowed down; threads
that the work begins have it, too.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

#: Still a tenth of a processor where somebody else computes on it for ever: a dump that never got
#: on would want more of the oplog than there is.
NICE = 10


@contextlib.contextmanager
def work() -> Iterator[None]:
    """Have the block's thread compute when nobody else wants to, or nearly."""
    thread = threading.get_native_id()
    before = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, max(before, NICE))
    try:
        yield
    finally:
        # Who is not root may not; its job ends soon.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, thread, before)
