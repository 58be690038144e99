"""Counters as the rest of the application sees them: what they are, and what a store can do.

No driver, no HTTP: ``mongo`` keeps counters, ``compat`` and ``v1`` talk of them to clients.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

DEFAULT_NAMESPACE = "default"
SHARED = "shared"
"""The counter that the page shows, in the default namespace: visits to the whole service. It is
there from the start, and nobody's: it cannot be created or imported."""

NAME = re.compile("[A-Za-z0-9_.-]{3,64}")
"""What namespaces and names of counters look like; to be matched as a whole."""

LARGEST = 2**53 - 1
"""The largest value, and its negative the smallest: what every JSON reader keeps exactly."""

LONGEST_KEY = 255
"""Characters of an ``Idempotency-Key``."""


class StoreError(Exception):
    """A store's refusal. The message is fit for clients: no address, no secret."""


class StoreUnavailable(StoreError):
    """The database cannot do it now; a write that was asked for may or may not have been made."""


class Overloaded(StoreError):
    """Too much waits already, so that this was not even begun."""


class NotFound(StoreError):
    """There is no such counter."""


class AlreadyThere(StoreError):
    """There is a counter of this name already."""


class Forbidden(StoreError):
    """The counter has no admin key, or another one than was given."""


class OutOfBounds(StoreError):
    """The value would leave ±``LARGEST``, or the amount is beyond its counter's bounds."""


class KeyReused(StoreError):
    """The idempotency key was used before for something else."""


class Full(StoreError):
    """The store holds as many counters, or idempotency keys, as it may; what is there goes on."""


class NotMade(StoreError):
    """There is no such counter, and the hit was not to make it."""


class Key(NamedTuple):
    """Which counter: a namespace and a name in it. Made of names that match ``NAME``."""

    namespace: str
    name: str

    @classmethod
    def make(cls, namespace: str, name: str) -> "Key":
        """Return the key of these names; ``ValueError`` says which of them is not good."""
        for word, text in (("namespace", namespace), ("key", name)):
            if not NAME.fullmatch(text):
                raise ValueError(f"A {word} has 3 to 64 letters, digits, '_', '.' or '-'.")
        return cls(namespace, name)

    @property
    def reserved(self) -> bool:
        """Whether it is the service's own."""
        return self == Key(DEFAULT_NAMESPACE, SHARED)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Plan:
    """What a counter is to be made with."""

    value: int = 0
    step: int = 1
    """What one hit adds; not 0."""
    lower: int | None = None
    """The least amount that one update may have; None for no bound."""
    upper: int | None = None
    """The greatest amount that one update may have; None for no bound."""
    resettable: bool = True
    """Whether the value may be set or reset."""
    lifetime: int | None = None
    """Seconds until the counter ceases to be; None for never."""


@dataclass(frozen=True)
class Counter:
    """A counter as it was at one moment, with the history that made its value."""

    key: Key
    value: int
    plan: Plan
    owned: bool
    """Whether there is an admin key for it."""
    created: datetime
    updated: datetime
    expires: datetime | None
    nodes: dict[str, int] = field(default_factory=dict)
    """How much of the value hits through each web node have added."""
    base: int = 0
    """What the value was before all of ``days``; with these and ``set_days`` it makes the value:
    always ``value == base + sum(days.values()) + sum(set_days.values())``."""
    minutes: dict[int, int] = field(default_factory=dict)
    """Change of the value in each of the last minutes: minutes since 1970 to amount."""
    hours: dict[int, int] = field(default_factory=dict)
    days: dict[int, int] = field(default_factory=dict)
    set_minutes: dict[int, int] = field(default_factory=dict)
    """By how much sets and imports moved the value in each of the last minutes. They are no hits:
    none of this is in ``minutes``, ``hours`` and ``days``."""
    set_hours: dict[int, int] = field(default_factory=dict)
    set_days: dict[int, int] = field(default_factory=dict)
    idle: datetime | None = field(default=None, kw_only=True, compare=False)
    """When a counter that nobody owns ends, if nothing changes it until then."""
    seen: datetime = field(kw_only=True)
    """When the store looked, by the database's clock, which is the only one that counts."""


@dataclass(frozen=True)
class Counted:
    """What a hit or an update came to."""

    value: int
    """The value right after it: no other hit on this counter has the same (for a step above 0)."""
    replayed: bool = False
    """Whether it was counted earlier already, under the same idempotency key."""
    made: bool = False
    """Whether this hit made the counter."""


@dataclass(frozen=True)
class Change:
    """A counter's value has become another one."""

    key: Key
    value: int | None
    """The new value; None where the counter was removed."""
    node: str | None = None
    """The web node whose hits it was; None if it was no hit."""


@dataclass(frozen=True)
class Totals:
    """What a store holds altogether."""

    counters: int
    namespaces: int
    hits: int
    """Hits counted through all web nodes, of the counters that are still there."""


@dataclass(frozen=True)
class Record:
    """A count that comes from elsewhere, to be imported."""

    key: Key
    value: int


class Refusal(StrEnum):
    """Why a record was not imported, in a sentence that is fit for clients."""

    RESERVED = "This is the service's own counter."
    THERE = "There is a counter of this name already."
    OTHERS = "There is a counter of this name already, with another admin key or none."
    FIXED = "The counter was made as one that cannot be set or reset."
    BOUNDS = "The difference is beyond the bounds of this counter's updates."
    FULL = "The service has as many counters as it may."


class CounterStore(Protocol):
    """What the HTTP layer needs of a store. Every method raises only :class:`StoreError`.

    A method that changes something returns only when a majority of the replica set has the change
    in its journal. ``admin`` is always the SHA-256, in hexadecimal, of an admin key; the operator's
    methods take none, for who may call them is decided elsewhere.
    """

    def hit(self, key: Key, idempotency_key: str | None = None, *, make: bool = True) -> Counted:
        """Add the counter's step to it, making it if need be.

        :param make: False to count only if the counter is there.
        :raises NotMade: it is not there, and ``make`` is False.
        :raises Full: it is not there, or the idempotency key is new, and there is no more room.
        :raises OutOfBounds: the value, or another number that is kept of the counter, would leave
            ±``LARGEST``.
        :raises KeyReused: the idempotency key was given for another kind of change before.
        :raises Overloaded: too many hits wait already.
        """

    def add(
        self, key: Key, amount: int, admin: str | None, idempotency_key: str | None = None
    ) -> Counted:
        """Add an amount to a counter that is there; ``admin`` is asked for if it is owned.

        :raises NotFound, Forbidden, OutOfBounds, KeyReused: see there.
        """

    def set(self, key: Key, value: int, admin: str | None) -> tuple[int, int]:
        """Set a counter's value; return the one before and the new one.

        :param admin: is asked for if it is owned.
        :raises NotFound, Forbidden, OutOfBounds: see there. ``Forbidden`` also where the counter
            was made as one that is not resettable, as a hit makes it.
        """

    def read(self, key: Key) -> Counter | None:
        """Return what the majority has of a counter; None if it is not there, or has expired."""

    def create(self, key: Key, plan: Plan, admin: str | None) -> Counter:
        """Make a counter, owned by who has the key behind ``admin``.

        :raises AlreadyThere: it is there, made by whomever.
        :raises Full: there is no more room.
        """

    def delete(self, key: Key, admin: str | None) -> None:
        """Remove a counter with its history.

        :raises NotFound, Forbidden: see there; ``Forbidden`` also if it has no admin key.
        """

    def page(self, owner: str | None, after: Key | None, limit: int) -> list[Counter]:
        """Return up to ``limit`` counters behind ``after`` in the order of their keys.

        :param owner: only those owned with this ``admin``; None, for an operator, gives all.
        """

    def all(self, owner: str | None) -> Iterator[Counter]:
        """Yield all counters of :meth:`page`, for an export."""

    def changes(self) -> "Generator[Change | None, None, None]":
        """Yield each change of a value once the majority has it, from now on and for ever.

        Goes on after failovers. Changes that come faster than they are taken may be put together.
        None comes at least every second or so while there are no changes.
        """

    def take(
        self, records: Sequence[Record], replace: bool, admin: str
    ) -> Sequence[Refusal | None]:
        """Import counts: make each counter with its value, owned by ``admin``.

        :param records: at most a thousand, each of another counter.
        :param replace: set the value of those that are there and owned by ``admin``, too, if they
            are resettable and the difference is within their bounds.
        :returns: for each record None if it was taken, else why not.
        """

    def totals(self) -> Totals:
        """Return how much there is in the store; may be some seconds old."""

    def operator_set(self, key: Key, value: int) -> tuple[int, int]:
        """As :meth:`set`, for an operator: whoever owns the counter, resettable or not."""

    def operator_delete(self, key: Key) -> None:
        """As :meth:`delete`, for an operator."""

    def operator_count(self, prefix: str) -> int:
        """Return how many counters have a ``<namespace>/<name>`` that begins with ``prefix``."""

    def operator_delete_all(self, prefix: str, limit: int) -> int:
        """Delete up to ``limit`` of those counters but for the service's own; return how many.

        0 means that there is none left.
        """

    def waiting(self) -> int:
        """Return how many hits wait for their write right now, for the metrics."""

    def probe(self, node: str) -> None:
        """Do a write as durable as a hit within the short time that readiness may take."""

    def close(self) -> None:
        """Give the connections back."""
