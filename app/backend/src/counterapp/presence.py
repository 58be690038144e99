"""Whether the client whose request is being answered is still there to take the answer."""

import select
from collections.abc import Callable
from contextvars import ContextVar

from gevent import monkey  # type: ignore[import-untyped]

GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR | select.POLLNVAL


def _nobody_knows() -> bool:
    return False


gone: ContextVar[Callable[[], bool]] = ContextVar("gone", default=_nobody_knows)
"""Tells whether the client of this context has hung up; whoever serves connections sets it."""


def hung_up(descriptor: int) -> bool:
    """Tell whether the other end of a connection sends nothing any more.

    One that only says so and goes on reading cannot be told from one that is gone: as most servers
    do, this takes it for gone.
    """
    # gevent's would let others run meanwhile, and the one that is asked about with them.
    poll = monkey.get_original("select", "poll")()
    poll.register(descriptor, GONE)
    return bool(poll.poll(0))
