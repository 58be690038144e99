"""Changes that carry an idempotency key, in batches whose counters and keys are one transaction.

A key belongs to one life of a counter, its ``inc``: that of a counter which was deleted, or has
expired, says nothing of the one that has its name now. What a batch cannot do for one of its items
it leaves out, and does the rest.
"""

import time
from collections.abc import Sequence, Set
from datetime import datetime, timedelta
from typing import NamedTuple

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from counterapp import documents, updates
from counterapp.batches import BATCH, PACE, new_slot, not_made
from counterapp.clock import DatabaseClock
from counterapp.combiner import Combiner
from counterapp.counters import Counted, Full, Key, KeyReused, NotFound, OutOfBounds, StoreError
from counterapp.documents import Document
from counterapp.driver import persist, translated
from counterapp.gate import Gate
from counterapp.room import Room
from counterapp.writer import Hit, Writer, dealt, tally, too_far

UPDATES = 50
"""Updates in one transaction, which makes them one after the other."""


class Keyed(NamedTuple):
    """A change that carries an idempotency key."""

    key: Key
    name: str
    amount: int | None
    """None for a hit."""
    make: bool
    """Whether a hit may make the counter."""
    inc: ObjectId | None
    """Which counter of this name an update is for; None for a hit, which takes what is there."""

    @property
    def identity(self) -> str:
        return f"{self.key} {self.name}"


Outcome = Counted | StoreError


class KeyedBatches:
    """The lines of hits and of updates with a key of one process.

    :param database: through a client which repeats nothing on its own.
    :param timeout: seconds that one try of a batch may take.
    :param deadline: seconds that a change waits at most, for as many tries as that takes.
    :param gate: of those who wait.
    :param keep: for how long a key is remembered.
    :param lifetime: milliseconds for which a counter that nobody owns is kept unchanged.
    """

    def __init__(
        self,
        database: Database[Document],
        *,
        node: str,
        clock: DatabaseClock,
        timeout: float,
        deadline: float,
        gate: Gate,
        keep: timedelta,
        lifetime: int,
        counters_room: Room,
        keys_room: Room,
    ) -> None:
        def line(name: str, batch: int) -> Combiner[Keyed, Counted]:
            writer = Writer(database["counters"], clock, new_slot(node), node, lifetime)
            made = _Line(database, writer, clock, timeout, keep, lifetime, counters_room, keys_room)
            self._lines.append(made)
            return Combiner(
                made.commit, gate=gate, batch=batch, timeout=deadline, name=name, pace=PACE
            )

        self._lines: list[_Line] = []
        self._hits = line("keyed-hits", BATCH)
        # In a line of their own: one after the other takes longer than together.
        self._updates = line("keyed-updates", UPDATES)

    def hit(self, key: Key, name: str, make: bool) -> Counted:
        """Add a hit, unless that was done under the same key before."""
        return self._hits.submit(Keyed(key, name, None, make, None))

    def add(self, key: Key, name: str, amount: int, inc: ObjectId) -> Counted:
        """Add ``amount`` to the counter with this ``inc``, unless that was done before."""
        return self._updates.submit(Keyed(key, name, amount, False, inc))

    def close(self) -> None:
        """Take nothing more, and finish what waits."""
        self._hits.close()
        self._updates.close()
        for each in self._lines:
            each.close()


class _Line:
    """What one line of batches does with each of them."""

    def __init__(
        self,
        database: Database[Document],
        writer: Writer,
        clock: DatabaseClock,
        timeout: float,
        keep: timedelta,
        lifetime: int,
        counters_room: Room,
        keys_room: Room,
    ) -> None:
        self._database = database
        self._counters = database["counters"]
        self._keys = database["idempotency"]
        self._writer = writer
        self._clock = clock
        self._timeout = timeout
        self._keep = keep
        self._lifetime = lifetime
        self._counters_room = counters_room
        self._keys_room = keys_room
        # One for all transactions: beginning the next ends one whose end the server never heard of,
        # which would keep its counters locked until its lifetime is over.
        self._session: ClientSession | None = None

    def close(self) -> None:
        if self._session is not None:
            self._session.end_session()

    def commit(self, items: Sequence[Keyed], deadline: float) -> Sequence[Counted | Exception]:
        """Make the changes that were not made before."""
        firsts: dict[str, Keyed] = {}
        for item in items:
            firsts.setdefault(item.identity, item)
        token = ObjectId()
        with translated():
            outcomes = persist(lambda: self._outcomes(firsts, token), deadline, self._timeout)
        counted = [each for each in outcomes.values() if isinstance(each, Counted)]
        self._counters_room.use(sum(each.made for each in counted))
        self._keys_room.use(sum(not each.replayed for each in counted))
        answers: list[Counted | Exception] = []
        told: set[str] = set()
        for item in items:
            answers.append(_answer(item, firsts[item.identity], outcomes, told))
            told.add(item.identity)
        return answers

    def _outcomes(self, firsts: dict[str, Keyed], token: ObjectId) -> dict[str, Outcome]:
        """Return what became of each key's change, made now or before."""
        records = list(self._keys.find({"_id": {"$in": list(firsts)}}))
        lives = self._lives({firsts[record["_id"]].key for record in records})
        outcomes: dict[str, Outcome] = {}
        stale = []
        for record in records:
            item = firsts[record["_id"]]
            life = lives.get(item.key)
            # Of an earlier release's keys nobody knows the life: that of the counter then.
            if life is None or record.get("inc", life) != life:
                stale.append(record)
            elif item.inc is not None and item.inc != life:
                outcomes[item.identity] = NotFound(f"There is no counter {item.key} any more")
            elif record["token"] == token:
                # The end of the transaction was never heard of, and it was made.
                outcomes[item.identity] = Counted(int(record["value"]), made=record["made"])
            else:
                outcomes[item.identity] = _replayed(item, record)
        fresh = [item for identity, item in firsts.items() if identity not in outcomes]
        room = self._keys_room.free() + len(stale) if fresh else 0
        for item in fresh[room:]:
            outcomes[item.identity] = Full(
                f"There is no room for more than {self._keys_room.most} idempotency keys"
            )
        if fresh := fresh[:room]:
            outcomes |= self._counted(fresh, stale, token)
        return outcomes

    def _lives(self, keys: Set[Key]) -> dict[Key, ObjectId]:
        """Return which counters have these names now; without those that are not there."""
        if not keys:
            return {}
        wanted = {"_id": {"$in": [str(key) for key in keys]}, **documents.ALIVE}
        found = self._counters.find(wanted, {"inc": True})
        return {documents.key_of(document["_id"]): document["inc"] for document in found}

    def _counted(
        self, items: Sequence[Keyed], stale: Sequence[Document], token: ObjectId
    ) -> dict[str, Outcome]:
        """Make changes and remember their keys, in one transaction."""
        if self._session is None:
            self._session = self._database.client.start_session()
        acknowledged = self._database.write_concern
        with self._session.start_transaction(ReadConcern("snapshot"), acknowledged):
            lives: dict[str, ObjectId] = {}
            outcomes = self._hit([item for item in items if item.amount is None], lives)
            for item in items:
                if item.amount is not None:
                    outcomes[item.identity] = self._add(item, item.amount, lives)
            if stale:
                # With the token: another node may have put a new one into its place.
                old = [{"_id": record["_id"], "token": record["token"]} for record in stale]
                self._keys.delete_many({"$or": old}, session=self._session)
            self._remember(items, outcomes, lives, token)
        return outcomes

    def _hit(self, items: Sequence[Keyed], lives: dict[str, ObjectId]) -> dict[str, Outcome]:
        if not items:
            return {}
        hits = [Hit(item.key, item.make) for item in items]
        counts, unmade = tally(hits)
        full = self._counters_room.free() < len(counts)
        written = self._writer.write(
            counts,
            self._writer.batch(time.monotonic_ns()),
            set(counts) if full else unmade,
            self._session,
        )
        answers = dealt(hits, written, lambda key: not_made(key, self._counters_room, full))
        for item in items:
            if item.key in written:
                lives[item.identity] = written[item.key].inc
        return {item.identity: answer for item, answer in zip(items, answers, strict=True)}

    def _add(self, item: Keyed, amount: int, lives: dict[str, ObjectId]) -> Outcome:
        assert item.inc is not None
        lives[item.identity] = item.inc
        try:
            value, at = add(
                self._counters, item.key, item.inc, amount, self._lifetime, self._session
            )
        except StoreError as error:
            return error
        self._clock.note(at)
        return Counted(value)

    def _remember(
        self,
        items: Sequence[Keyed],
        outcomes: dict[str, Outcome],
        lives: dict[str, ObjectId],
        token: ObjectId,
    ) -> None:
        # The clock was set by what was just written.
        expires = self._clock.now() + self._keep
        made = [
            {
                "_id": item.identity,
                "inc": lives[item.identity],
                "amount": item.amount,
                "value": outcome.value,
                "made": outcome.made,
                "token": token,
                "expires": expires,
            }
            for item in items
            if isinstance(outcome := outcomes[item.identity], Counted)
        ]
        if made:
            self._keys.insert_many(made, ordered=False, session=self._session)


def add(
    counters: Collection[Document],
    key: Key,
    inc: ObjectId,
    amount: int,
    lifetime: int,
    session: ClientSession | None = None,
) -> tuple[int, datetime]:
    """Add an amount to the counter with this ``inc``; return its new value, and when it was.

    :param lifetime: milliseconds for which a counter that nobody owns is kept from now on.
    """
    token = ObjectId()
    after = counters.find_one_and_update(
        {"_id": str(key), "inc": inc, **documents.ALIVE},
        updates.add(amount, token, lifetime),
        projection={"value": True, "by": True, "updated": True},
        return_document=ReturnDocument.AFTER,
        session=session,
    )
    if after is None:
        raise NotFound(f"There is no counter {key} any more")
    if after["by"] != updates.changed_by(token):
        raise OutOfBounds(too_far(key))
    return int(after["value"]), after["updated"]


def _replayed(item: Keyed, record: Document) -> Outcome:
    if record["amount"] != item.amount:
        return KeyReused(f"The idempotency key was used for something else on {item.key}")
    return Counted(int(record["value"]), replayed=True)


def _answer(
    item: Keyed, first: Keyed, outcomes: dict[str, Outcome], told: Set[str]
) -> Counted | StoreError:
    """Return what a caller is told, of those who came at once with one key."""
    outcome = outcomes[item.identity]
    if item.identity not in told:
        return outcome
    if (item.amount, item.inc) != (first.amount, first.inc):
        return KeyReused(f"The idempotency key is just being used otherwise on {item.key}")
    if isinstance(outcome, Counted):
        return Counted(outcome.value, replayed=True)
    return outcome
