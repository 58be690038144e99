"""Hits written to counters, each of them once, however often a batch is sent.

Many counters that are as this process last saw them share one cheap update; for all others there is
one that copes with whatever it finds (``updates``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import NamedTuple, TypeVar

from bson import ObjectId
from pymongo import ReturnDocument, UpdateMany, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect

from counterapp import documents, updates
from counterapp.clock import DatabaseClock
from counterapp.counters import LARGEST, Counted, Key, OutOfBounds, StoreError
from counterapp.documents import Document
from counterapp.history import bucket
from counterapp.updates import Batch

K = TypeVar("K")

_LOOKS = 3
"""How often a batch looks at counters that change under it before it is sent anew."""

KNOWN = 100_000
"""Counters that a process remembers; it forgets them all when there are more."""


class Written(NamedTuple):
    """What a batch came to on one counter."""

    value: int
    counted: int
    """How many of its hits there was room for: the first ones."""
    made: bool
    """Whether it made the counter."""
    step: int
    inc: ObjectId
    """Which of the counters that ever had this name it was."""


class _Update(NamedTuple):
    """One update of those counters among ``keys`` that are ``only`` this."""

    keys: list[Key]
    only: Document
    update: documents.Stages
    upsert: bool = False


class Writer:
    """Writes the batches of one line, one after the other.

    :param slot: of this process and this line only.
    :param lifetime: milliseconds for which a counter that nobody owns is kept unchanged.
    """

    def __init__(
        self,
        counters: Collection[Document],
        clock: DatabaseClock,
        slot: str,
        node: str,
        lifetime: int,
    ) -> None:
        self._counters = counters
        self._clock = clock
        self._slot = slot
        self._node = node
        self._lifetime = lifetime
        # The hour in which a counter was last seen, whatever its state, and its step.
        self._known: dict[Key, tuple[int, int]] = {}

    def batch(self, number: int) -> Batch:
        """Return the batch of this number."""
        return Batch(number, self._slot, self._node, self._lifetime)

    def write(
        self,
        counts: Mapping[Key, int],
        batch: Batch,
        unmade: Set[Key] = frozenset(),
        session: ClientSession | None = None,
    ) -> dict[Key, Written]:
        """Add hits to counters, each in one commit of its own unless there is a session.

        :param unmade: those that are not to be made.
        :returns: what came of it; without those among ``unmade`` that are not there.
        """
        hour = bucket(self._clock.now(), "hour")
        known = {key: self._known.get(key, (None, 0)) for key in counts}
        usual = {key: step for key, (seen, step) in known.items() if seen == hour}
        written: dict[Key, Written] = {}
        left = set(counts)
        for _ in range(_LOOKS):
            other = [key for key in left if key not in usual]
            old = there(self._counters, other, session)
            left -= {key for key in other if key in unmade and key not in old}
            writes = self._usual(counts, usual, batch)
            writes += self._other(counts, old, batch)
            writes += self._first(counts, [key for key in other if key in left - old], batch)
            written |= self._sent(writes, batch, session) if writes else {}
            left -= written.keys()
            if not left:
                break
            # They are not what they were taken for, or others have made them at this moment.
            usual = {}
        else:
            # A primary that is none any more may answer with what it had before.
            raise AutoReconnect("some counters do not have what was just written")
        self._learn(written)
        return written

    def _learn(self, written: Mapping[Key, Written]) -> None:
        if len(self._known) > KNOWN:
            self._known.clear()
        hour = bucket(self._clock.now(), "hour")
        for key, found in written.items():
            self._known[key] = (hour, found.step)

    def _usual(
        self, counts: Mapping[Key, int], steps: Mapping[Key, int], batch: Batch
    ) -> list[_Update]:
        """Return the updates of counters that are as this process last saw them."""
        now = self._clock.now()
        kinds = _grouped(steps, lambda key: (counts[key], steps[key]))
        return [
            _Update(keys, *updates.more_hits(count, batch, step, now))
            for (count, step), keys in kinds.items()
        ]

    def _other(self, counts: Mapping[Key, int], keys: Set[Key], batch: Batch) -> list[_Update]:
        """Return the updates of counters in whatever state; they drop old history, too."""
        return [
            _Update(alike, documents.ALIVE, updates.hits(count, batch))
            for count, alike in _grouped(keys, counts.__getitem__).items()
        ]

    def _first(self, counts: Mapping[Key, int], keys: Sequence[Key], batch: Batch) -> list[_Update]:
        """Return the updates that make counters."""
        kinds = _grouped(keys, counts.__getitem__)
        made = {count: updates.first_hits(count, batch) for count in kinds}
        return [_Update([key], {}, made[counts[key]], upsert=True) for key in keys]

    def _sent(
        self, writes: Sequence[_Update], batch: Batch, session: ClientSession | None
    ) -> dict[Key, Written]:
        """Send updates and return what became of the batch where it was applied."""
        report = {"step": True, "inc": True, f"w.{batch.slot}": True}
        wanted = [str(key) for write in writes for key in write.keys]
        if len(wanted) == 1:
            document = self._counters.find_one_and_update(
                {"_id": wanted[0], **writes[0].only},
                writes[0].update,
                projection=report,
                upsert=writes[0].upsert,
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            found = [document] if document else []
        else:
            self._counters.bulk_write(
                [_request(write) for write in writes], ordered=False, session=session
            )
            found = list(self._counters.find({"_id": {"$in": wanted}}, report, session=session))
        written = {}
        for document in found:
            last = document.get("w", {}).get(batch.slot)
            if last and last["i"] == batch.number:
                self._clock.note(last["at"])
                written[documents.key_of(document["_id"])] = Written(
                    int(last["v"]),
                    int(last["c"]),
                    last["n"],
                    int(document["step"]),
                    document["inc"],
                )
        return written


class Hit(NamedTuple):
    """A hit on a counter."""

    key: Key
    make: bool
    """Whether it may make the counter."""


def there(
    counters: Collection[Document], keys: Iterable[Key], session: ClientSession | None = None
) -> set[Key]:
    """Return those of the counters that are there."""
    names = [str(key) for key in keys]
    if not names:
        return set()
    found = counters.find(
        {"_id": {"$in": names}, **documents.ALIVE}, {"_id": True}, session=session
    )
    return {documents.key_of(document["_id"]) for document in found}


def _grouped(keys: Iterable[Key], kind: Callable[[Key], K]) -> dict[K, list[Key]]:
    """Return the counters of each kind."""
    kinds: dict[K, list[Key]] = {}
    for key in keys:
        kinds.setdefault(kind(key), []).append(key)
    return kinds


def tally(hits: Sequence[Hit]) -> tuple[dict[Key, int], set[Key]]:
    """Return how often each counter is hit, and which of them are not to be made."""
    counts: dict[Key, int] = {}
    for key, _ in hits:
        counts[key] = counts.get(key, 0) + 1
    return counts, set(counts) - {key for key, make in hits if make}


def dealt(
    hits: Sequence[Hit], written: Mapping[Key, Written], why_not: Callable[[Key], StoreError]
) -> list[Counted | StoreError]:
    """Deal out the values of each counter in the order of the hits.

    :param why_not: says why a counter that is not there was not made.
    """
    turns: dict[Key, int] = {}
    makers: set[Key] = set()
    answers: list[Counted | StoreError] = []
    for key, make in hits:
        if key not in written:
            answers.append(why_not(key))
            continue
        value, counted, made, step, _ = written[key]
        turns[key] = turn = turns.get(key, 0) + 1
        if turn > counted:
            answers.append(OutOfBounds(too_far(key)))
            continue
        # Only a hit that was allowed to has made it.
        made = made and make and key not in makers
        if made:
            makers.add(key)
        answers.append(Counted(value - step * (counted - turn), made=made))
    return answers


def too_far(key: Key) -> str:
    """Say that a counter is at its end."""
    return f"{key}, or its change in a day, cannot go beyond {LARGEST}"


def _request(write: _Update) -> UpdateOne | UpdateMany:
    identities = [str(key) for key in write.keys]
    if len(identities) == 1:
        return UpdateOne({"_id": identities[0], **write.only}, write.update, upsert=write.upsert)
    # The server reads an update once for all counters that it changes, which costs it more than
    # changing them. Without the hint it would try the other indexes, too.
    return UpdateMany({"_id": {"$in": identities}, **write.only}, write.update, hint="_id_")
