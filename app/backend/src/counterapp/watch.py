"""Who waits for changes of which counter: one look at the database serves a whole process.

A thread takes the store's changes and hands each to those who wait for its counter. It waits for
nobody: who is slow finds the newest value, and what was between is gone.
"""

import logging
import threading
import time
from collections import defaultdict
from contextlib import closing

from counterapp.counters import Change, CounterStore, Key, StoreError
from counterapp.limits import Places

PAUSE = 1.0
"""Seconds until the database is asked again after it has failed."""

IDLE = 10.0
"""Seconds without a subscription after which changes are not looked at any more.

Every change of every counter costs its node something, most of all where there are many.
"""

log = logging.getLogger(__name__)


class Full(Exception):
    """There are as many subscriptions as there may be, or no more are wanted."""


class ClientFull(Exception):
    """One client has as many subscriptions as one may have."""


class Subscription:
    """One waiting client's view of one counter."""

    def __init__(self, key: Key, group: str) -> None:
        self.key = key
        self.group = group
        self._condition = threading.Condition()
        self._newest: Change | None = None
        self._over = False

    def put(self, change: Change) -> None:
        """Let ``change`` be the newest."""
        with self._condition:
            self._newest = change
            self._condition.notify()

    def end(self) -> None:
        """Let nobody wait for more."""
        with self._condition:
            self._over = True
            self._condition.notify()

    @property
    def over(self) -> bool:
        return self._over

    def wait(self, timeout: float) -> Change | None:
        """Return the newest change since the last one; None after ``timeout`` s, or at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._newest or self._over, timeout)
            newest, self._newest = self._newest, None
            return newest


class Watch:
    """All subscriptions of a process.

    :param limit: how many there may be at a time.
    :param client_limit: how many of them one client may have.
    """

    def __init__(self, store: CounterStore, limit: int, client_limit: int) -> None:
        self._store = store
        self._limit = limit
        self._places = Places(client_limit)
        self._lock = threading.Lock()
        self._waiting: defaultdict[Key, set[Subscription]] = defaultdict(set)
        self._count = 0
        self._wanted = 0.0
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def open(self, key: Key, group: str) -> Subscription:
        """Return a new subscription, to be given to :meth:`drop` in the end.

        :param group: the client, as limits go by it.
        :raises ClientFull: the client has too many already.
        :raises Full: there are too many in all, or :meth:`close` was called.
        """
        with self._lock:
            if self._closed.is_set() or self._count >= self._limit:
                raise Full
            if not self._places.take(group):
                raise ClientFull
            subscription = Subscription(key, group)
            self._waiting[key].add(subscription)
            self._count += 1
            if self._thread is None:
                # Not before somebody waits: threads do not survive the fork of a worker.
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()
            return subscription

    def drop(self, subscription: Subscription) -> None:
        """Forget a subscription; it may be forgotten already."""
        with self._lock:
            waiting = self._waiting[subscription.key]
            if subscription in waiting:
                waiting.remove(subscription)
                self._places.leave(subscription.group)
                self._count -= 1
            if not waiting:
                del self._waiting[subscription.key]

    def count(self) -> int:
        """Return how many subscriptions there are."""
        return self._count

    def close(self) -> None:
        """End all subscriptions, so that a process that stops need not wait for its streams."""
        with self._lock:
            self._closed.set()
            for waiting in self._waiting.values():
                for subscription in waiting:
                    subscription.end()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with closing(self._store.changes()) as changes:
                    for change in changes:
                        if change is not None:
                            self._hand_out(change)
                        if self._idle():
                            return
            except StoreError as error:
                log.warning("%s", error, extra={"cause": repr(error.__cause__)[:500]})
            except Exception:
                # Without this thread all streams would go on and be silent for ever.
                log.exception("unexpected error")
            self._closed.wait(PAUSE)

    def _idle(self) -> bool:
        """Tell whether nobody wants changes any more; the next subscription begins anew then."""
        with self._lock:
            now = time.monotonic()
            if self._count:
                self._wanted = now
            if now - self._wanted < IDLE:
                return False
            self._thread = None
            return True

    def _hand_out(self, change: Change) -> None:
        with self._lock:
            for subscription in self._waiting.get(change.key, ()):
                subscription.put(change)
