"""What one client may have: places, and counters made and imported in an hour.

Nothing here is shared between processes: each node grants the whole of it. It keeps one client from
taking what is everybody's, and is no account.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from counterapp.clients import Client, Clients
from counterapp.counters import Counted, CounterStore, Key, NotMade, Overloaded
from counterapp.settings import Settings

HOUR = 3600.0

MOST_GROUPS = 100_000
"""Clients that are remembered. When there are more, the first half is forgotten: they may begin
anew."""


class OverLimit(Overloaded):
    """One client asks for more than one may have. It was not even begun.

    :param after: seconds after which it may be had.
    """

    def __init__(self, message: str, after: int) -> None:
        super().__init__(message)
        self.after = after


class Allowance:
    """So much an hour for each client; what was used comes back evenly.

    Of a client it is kept when all will have come back, which says how much is left now.

    :param most: how much there is, and may be used at once.
    :param clock: seconds that never go back.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._each = HOUR / most
        self._clock = clock
        self._whole: dict[str, float] = {}
        self._look_at = 1024

    def take(self, group: str, count: int = 1) -> bool:
        """Use some, if there is as much."""
        now = self._clock()
        whole = max(self._whole.get(group, now), now) + count * self._each
        # A millionth of a second, for what sums of fractions are off by.
        if whole - now > HOUR + 1e-6:
            return False
        self._whole[group] = whole
        if len(self._whole) > self._look_at:
            self._forget(now)
        return True

    def give_back(self, group: str, count: int = 1) -> None:
        """Return what was taken and not used."""
        whole = self._whole.get(group, 0.0) - count * self._each
        if whole > self._clock():
            self._whole[group] = whole
        else:
            self._whole.pop(group, None)

    def after(self, group: str, count: int = 1) -> int:
        """Return the seconds after which ``count`` may be taken."""
        now = self._clock()
        whole = max(self._whole.get(group, now), now) + count * self._each
        return max(1, math.ceil(whole - now - HOUR))

    def __len__(self) -> int:
        """Return of how many clients something is remembered."""
        return len(self._whole)

    def _forget(self, now: float) -> None:
        """Forget the clients that have everything again, and the first of far too many."""
        kept = {group: whole for group, whole in self._whole.items() if whole > now}
        for group in list(itertools.islice(kept, max(0, len(kept) - MOST_GROUPS // 2))):
            del kept[group]
        self._whole = kept
        # Not before twice as many: so each use pays for a look at no more than two.
        self._look_at = max(1024, 2 * len(kept))


class Places:
    """Places for each client at a time.

    :param most: how many one has.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken: dict[str, int] = {}

    def take(self, group: str) -> bool:
        """Take one, if there is one."""
        taken = self._taken.get(group, 0)
        if taken >= self.most:
            return False
        self._taken[group] = taken + 1
        return True

    def leave(self, group: str) -> None:
        """Leave one that was taken."""
        if self._taken[group] > 1:
            self._taken[group] -= 1
        else:
            del self._taken[group]


class Limits:
    """The limits of one process.

    :param store: the counters that clients make.
    """

    def __init__(self, settings: Settings, store: CounterStore) -> None:
        self.clients = Clients(settings.balancers)
        self.places = Places(settings.client_places)
        self._creations = Allowance(settings.client_creations)
        self._imports = Allowance(settings.client_imports)
        self._store = store

    def hit(self, client: Client, key: Key, idempotency_key: str | None = None) -> Counted:
        """Count a hit, which makes its counter only if the client may make one.

        :raises OverLimit: it may not, and there is no such counter.
        :raises StoreError: see :meth:`CounterStore.hit`.
        """
        make, made = self._creations.take(client.group), False
        try:
            counted = self._store.hit(key, idempotency_key, make=make)
            made = counted.made
        except NotMade:
            raise self._no_more_counters(client) from None
        finally:
            if make and not made:
                self._creations.give_back(client.group)
        return counted

    @contextmanager
    def creation(self, client: Client) -> Iterator[None]:
        """Let a client make a counter in here.

        :raises OverLimit: it may not.
        """
        if not self._creations.take(client.group):
            raise self._no_more_counters(client)
        try:
            yield
        except BaseException:
            self._creations.give_back(client.group)
            raise

    def use_imports(self, client: Client, count: int) -> None:
        """Let a client import so many records.

        :raises OverLimit: that is more than it may.
        """
        if not self._imports.take(client.group, count):
            raise OverLimit(
                f"One client may import {self._imports.most} records an hour, and these would be"
                " more. None of them was taken",
                self._imports.after(client.group, count),
            )

    def leave_imports(self, client: Client, count: int) -> None:
        """Give back what a client was let import and nobody tried to."""
        self._imports.give_back(client.group, count)

    def crowded(self) -> OverLimit:
        """Return the refusal of a request for which its client has no place left."""
        return OverLimit(
            f"One client may have {self.places.most} requests in progress at a time on a node, and"
            " this one has. Wait for their answers",
            1,
        )

    def _no_more_counters(self, client: Client) -> OverLimit:
        after = self._creations.after(client.group)
        return OverLimit(
            f"One client may make {self._creations.most} counters an hour, and this one has."
            f" Hits on counters that are there go on. The next may be made in {after} s",
            after,
        )
