"""Whether this node may get traffic: is a write that the majority journals possible now?"""

import logging
import threading
import time
from collections.abc import Callable

from counterapp.counters import CounterStore, StoreUnavailable

MAX_AGE = 1.0
"""Seconds for which an answer is given again, so that many checkers cost one write."""

log = logging.getLogger(__name__)


class Readiness:
    """Asks the store by really writing, at most once at a time and once in ``MAX_AGE``."""

    def __init__(
        self, store: CounterStore, node: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._node = node
        self._clock = clock
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._expires: float | None = None

    def reason_against(self) -> str | None:
        """Return None when traffic may come, otherwise one sentence that says why not.

        Takes at most as long as the store's own probe, or two of them for who comes while
        another caller's probe is on its way.
        """
        with self._lock:
            if self._expires is None or self._clock() >= self._expires:
                before, self._reason = self._reason, self._ask()
                if before and not self._reason:
                    log.warning("ready again; it was not: %s", before)
                self._expires = self._clock() + MAX_AGE
            return self._reason

    def _ask(self) -> str | None:
        try:
            self._store.probe(self._node)
        except StoreUnavailable as error:
            if self._reason is None:
                # Only the first of them: checkers ask every other second.
                log.warning("not ready: %s", error, extra={"cause": repr(error.__cause__)[:500]})
            return str(error)
        return None
