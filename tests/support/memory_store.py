"""The whole of ``counterapp.counters.CounterStore`` in memory, for tests of what talks HTTP.

It obeys the protocol's sentences one for one, so that a route is tested against what a store
promises, and not against MongoDB. Import ``counterapp`` first (its source must be on the path).
"""

import hmac
import itertools
import queue
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from counterapp.counters import (
    LARGEST,
    AlreadyThere,
    Change,
    Counted,
    Counter,
    Forbidden,
    Full,
    KeyReused,
    NotFound,
    NotMade,
    OutOfBounds,
    Overloaded,
    Plan,
    Refusal,
    StoreUnavailable,
    Totals,
)

MADE_BY_A_HIT = Plan(lower=0, upper=1, resettable=False)
"""What a counter is that nobody created, and what anybody may do to it, as with CountAPI."""

KEPT = timedelta(days=180)
"""For how long a counter that nobody owns is kept unchanged."""


class MemoryStore:
    """Keeps counters in memory, as seen from one web node.

    ``broken``: a sentence that makes every call fail as a lost database does. ``overloaded``: the
    same for hits, as too many of them do. ``bug``: an exception that every call raises. ``now``:
    the database's clock, to be moved by tests. ``most``: how many counters there may be.
    """

    def __init__(self, node="web-1"):
        self.node = node
        self.broken = None
        self.overloaded = None
        self.bug = None
        self.probes = 0
        self.now = None
        self.most = None
        self.watching = threading.Event()
        self._lock = threading.RLock()
        self._counters = {}
        self._admins = {}
        self._answers = {}
        self._watchers = []

    def clock(self):
        return self.now or datetime.now(UTC)

    def _check(self):
        if self.bug:
            raise self.bug
        if self.broken:
            raise StoreUnavailable(self.broken)

    def _there(self, key):
        counter = self._counters.get(key)
        if counter and counter.expires and counter.expires <= self.clock():
            self._forget(key)
            counter = None
        if counter is None:
            raise NotFound(f"There is no counter {key}")
        return replace(counter, seen=self.clock())

    def _forget(self, key):
        del self._counters[key]
        self._admins.pop(key, None)
        for known in [known for known in self._answers if known[0] == key]:
            del self._answers[known]

    def _allow(self, key, admin):
        owner = self._admins.get(key)
        if owner is None or admin is None or not hmac.compare_digest(owner, admin):
            raise Forbidden(f"This admin key is not the one of {key}")

    def _make(self, key, plan, admin):
        if self.most is not None and len(self._counters) >= self.most:
            raise Full(f"There may be {self.most} counters, and there are")
        now = self.clock()
        expires = now + timedelta(seconds=plan.lifetime) if plan.lifetime is not None else None
        idle = now + KEPT if admin is None else None
        counter = Counter(
            *(key, plan.value, plan, admin is not None, now, now, expires),
            base=plan.value,
            idle=idle,
            seen=now,
        )
        self._counters[key] = counter
        if admin is not None:
            self._admins[key] = admin
        self._tell(Change(key, counter.value))
        return counter

    def _move(self, counter, amount, node=None):
        value = counter.value + amount
        now = self.clock()
        minute = int(now.timestamp()) // 60
        moved = replace(
            counter,
            value=value,
            updated=now,
            idle=None if counter.owned else now + KEPT,
            minutes=_add(counter.minutes, minute, amount),
            hours=_add(counter.hours, minute // 60, amount),
            days=_add(counter.days, minute // 1440, amount),
            nodes=_add(counter.nodes, node, amount) if node else counter.nodes,
        )
        amounts = (moved.minutes, moved.hours, moved.days, moved.nodes)
        if max(map(abs, itertools.chain([value], *map(dict.values, amounts)))) > LARGEST:
            raise OutOfBounds("A counter, and its change in a day, stays within ±(2^53 - 1)")
        self._counters[counter.key] = moved
        if amount:
            self._tell(Change(counter.key, value, node))
        return moved

    def _put(self, counter, value):
        """Set a value, which is no hit: another part of the history has it."""
        now = self.clock()
        minute, amount = int(now.timestamp()) // 60, value - counter.value
        self._counters[counter.key] = replace(
            counter,
            value=value,
            updated=now,
            idle=None if counter.owned else now + KEPT,
            set_minutes=_add(counter.set_minutes, minute, amount),
            set_hours=_add(counter.set_hours, minute // 60, amount),
            set_days=_add(counter.set_days, minute // 1440, amount),
        )
        if amount:
            self._tell(Change(counter.key, value))
        return counter.value, value

    def _once(self, key, idempotency_key, asked, act):
        """Do ``act`` unless it was done under this idempotency key; return what came of it."""
        known = self._answers.get((key, idempotency_key)) if idempotency_key else None
        if known is not None:
            if known[0] != asked:
                raise KeyReused("This idempotency key was used for something else")
            return Counted(known[1], replayed=True)
        made = key not in self._counters
        value = act().value
        if idempotency_key:
            self._answers[key, idempotency_key] = (asked, value)
        return Counted(value, made=made)

    def hit(self, key, idempotency_key=None, *, make=True):
        with self._lock:
            self._check()
            if self.overloaded:
                raise Overloaded(self.overloaded)

            def act():
                try:
                    counter = self._there(key)
                except NotFound:
                    if not make:
                        raise NotMade(f"There is no counter {key}") from None
                    counter = self._make(key, MADE_BY_A_HIT, None)
                return self._move(counter, counter.plan.step, self.node)

            return self._once(key, idempotency_key, "hit", act)

    def add(self, key, amount, admin, idempotency_key=None):
        with self._lock:
            self._check()
            counter = self._there(key)
            if counter.owned:
                self._allow(key, admin)
            plan = counter.plan
            least = -LARGEST if plan.lower is None else plan.lower
            most = LARGEST if plan.upper is None else plan.upper
            if not least <= amount <= most:
                raise OutOfBounds(f"An update of {key} adds {least} to {most}")
            return self._once(
                key, idempotency_key, ("add", amount), lambda: self._move(counter, amount)
            )

    def set(self, key, value, admin):
        with self._lock:
            self._check()
            counter = self._there(key)
            if counter.owned:
                self._allow(key, admin)
            if not counter.plan.resettable:
                raise Forbidden(f"{key} was made as one that is not resettable")
            return self._put(counter, value)

    def read(self, key):
        with self._lock:
            self._check()
            try:
                return self._there(key)
            except NotFound:
                return None

    def create(self, key, plan, admin):
        with self._lock:
            self._check()
            try:
                self._there(key)
            except NotFound:
                if not key.reserved:
                    return self._make(key, plan, admin)
            raise AlreadyThere(f"There is a counter {key} already")

    def delete(self, key, admin):
        with self._lock:
            self._check()
            self._there(key)
            self._allow(key, admin)
            self._forget(key)
            self._tell(Change(key, None))

    def page(self, owner, after, limit):
        with self._lock:
            self._check()
            keys = sorted(
                key
                for key in self._counters
                if (owner is None or self._admins.get(key) == owner) and (not after or key > after)
            )
            return [counter for counter in map(self.read, keys) if counter][:limit]

    def all(self, owner):
        yield from self.page(owner, None, len(self._counters))

    def changes(self):
        self._check()
        mine = queue.SimpleQueue()
        with self._lock:
            self._watchers.append(mine)
        self.watching.set()
        try:
            while True:
                try:
                    change = mine.get(timeout=0.05)
                except queue.Empty:
                    change = None
                if isinstance(change, BaseException):
                    raise change
                yield change
        finally:
            with self._lock:
                self._watchers.remove(mine)
                if not self._watchers:
                    self.watching.clear()

    def end_changes(self, error=None):
        """End every :meth:`changes` as a lost database would."""
        self.watching.clear()
        self._tell(error or StoreUnavailable("The database did not answer in time"))

    def _tell(self, change):
        for watcher in self._watchers:
            watcher.put(change)

    def take(self, records, replace, admin):
        with self._lock:
            self._check()
            return [self._take(record, replace, admin) for record in records]

    def _take(self, record, replace, admin):
        if record.key.reserved:
            return Refusal.RESERVED
        try:
            counter = self._there(record.key)
        except NotFound:
            try:
                self._make(record.key, Plan(value=record.value), admin)
            except Full:
                return Refusal.FULL
            return None
        if not replace:
            return Refusal.THERE
        if self._admins.get(record.key) != admin:
            return Refusal.OTHERS
        plan = counter.plan
        if not plan.resettable:
            return Refusal.FIXED
        difference = record.value - counter.value
        if plan.lower is not None and difference < plan.lower:
            return Refusal.BOUNDS
        if plan.upper is not None and difference > plan.upper:
            return Refusal.BOUNDS
        self._put(counter, record.value)
        return None

    def totals(self):
        with self._lock:
            self._check()
            counters = self._counters.values()
            hits = sum(sum(counter.nodes.values()) for counter in counters)
            return Totals(len(counters), len({key.namespace for key in self._counters}), hits)

    def operator_set(self, key, value):
        with self._lock:
            self._check()
            counter = self._there(key)
            return self._put(counter, value)

    def operator_count(self, prefix):
        with self._lock:
            self._check()
            return len(self._of(prefix))

    def operator_delete_all(self, prefix, limit):
        with self._lock:
            self._check()
            gone = self._of(prefix)[:limit]
            for key in gone:
                self._forget(key)
                self._tell(Change(key, None))
            return len(gone)

    def _of(self, prefix):
        keys = [key for key in self._counters if str(key).startswith(prefix)]
        return [key for key in keys if not key.reserved]

    def operator_delete(self, key):
        with self._lock:
            self._check()
            self._there(key)
            self._forget(key)
            self._tell(Change(key, None))

    def waiting(self):
        return 0

    def probe(self, node):
        self.probes += 1
        self._check()

    def close(self):
        pass


def _add(amounts, name, amount):
    return {**amounts, name: amounts.get(name, 0) + amount} if amount else amounts
