"""Hits in batches: many of them in one write, each of them counted once.

Hits that come while a write is on its way share the next one (``combiner``). Such a batch is sent
until the majority has journaled it or its callers' time is over, across failovers, and added once:
each document remembers the last batch of each process (``documents.hits``). Hits with an
idempotency key go the same way in batches of their own, whose counters and keys are one
transaction.
"""

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from bson import ObjectId
from pymongo import ReturnDocument, UpdateMany, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import AutoReconnect
from pymongo.read_concern import ReadConcern

from counterapp import documents
from counterapp.combiner import Combiner
from counterapp.counters import (
    LARGEST,
    Counted,
    Key,
    KeyReused,
    NotFound,
    OutOfBounds,
    StoreError,
)
from counterapp.documents import Document, Stages
from counterapp.driver import persist, translated
from counterapp.history import bucket

BATCH = 1000
"""Hits in one write."""

PACE = 0.025
"""Seconds from one write to the next under load: what a smaller one costs is told in
docs/performance.md."""

KNOWN = 100_000
"""Counters that a process remembers; it forgets them all when there are more."""

_ALONE = "alone"


class _Written(NamedTuple):
    """What one batch came to on one counter."""

    outcome: str
    value: int
    step: int


class _Update(NamedTuple):
    """One update of counters that are ``usual``; of one in whatever state, if that is ``{}``."""

    keys: list[Key]
    usual: Document
    update: Stages

    @property
    def upsert(self) -> bool:
        """Whether to make the counter where there is none."""
        return not self.usual


class _Keyed(NamedTuple):
    """A hit, or an update by ``amount``, that carries an idempotency key."""

    key: Key
    name: str
    amount: int | None

    @property
    def identity(self) -> str:
        return f"{self.key} {self.name}"


class _Refused(Exception):
    """An item of a transaction cannot be counted, so that the transaction is not made."""

    def __init__(self, reason: StoreError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Batches:
    """The two lines of batches of one process: plain hits, and those with an idempotency key.

    :param database: that of counters and idempotency keys, through a client which repeats nothing
        on its own: batches are sent again by what is known of them here.
    :param once: the counters through a client that does, for hits in a write of their own.
    :param waiting: how many hits may wait in each line; more are refused.
    :param keep_keys: for how long a key is remembered.
    """

    def __init__(
        self,
        database: Database[Document],
        once: Collection[Document],
        *,
        node: str,
        timeout: float,
        waiting: int,
        keep_keys: timedelta,
    ) -> None:
        self._database = database
        self._counters = database["counters"]
        self._keys = database["idempotency"]
        self._once = once
        self._node = node
        self._timeout = timeout
        self._keep_keys = keep_keys
        # Of this process only, and of each of its lines.
        self._slot = f"{documents.field(node)}:{ObjectId()}"
        self._batch = 0
        self._first = threading.Lock()
        # When a slot last had a counter's old history dropped (an hour), and the counter's step.
        self._known: dict[tuple[Key, str], tuple[int, int]] = {}
        # One for all transactions: beginning the next ends one whose end the server never heard of,
        # which would keep its counters locked until its lifetime is over.
        self._session: ClientSession | None = None
        self._hits: Combiner[Key, Counted] = Combiner(
            self._commit_hits,
            waiting=waiting,
            batch=BATCH,
            timeout=timeout,
            name="hits",
            pace=PACE,
        )
        self._keyed: Combiner[_Keyed, Counted] = Combiner(
            self._commit_keyed,
            waiting=waiting,
            batch=BATCH,
            timeout=timeout,
            name="keyed-hits",
            pace=PACE,
        )

    @property
    def waiting(self) -> int:
        """How many callers wait right now."""
        return self._hits.waiting + self._keyed.waiting

    def hit(self, key: Key) -> Counted:
        """Add a hit, in one write with others."""
        return self._hits.submit(key)

    def keyed(self, key: Key, idempotency_key: str, amount: int | None) -> Counted:
        """Add a hit, or ``amount``, unless that was done under the same key before."""
        return self._keyed.submit(_Keyed(key, idempotency_key, amount))

    def alone(self, key: Key) -> Counted:
        """Add a hit in a write of its own: what combining is measured against."""
        with translated():
            counted = self._alone(key)
            if counted is None:
                with self._first:
                    counted = self._alone(key) or self._first_alone(key)
        return counted

    def _alone(self, key: Key) -> Counted | None:
        at = datetime.now(UTC)
        hour, step = self._known.get((key, _ALONE), (None, 0))
        if hour != bucket(at, "hour"):
            return None
        usual, update = documents.one_hit(step, node=self._node, at=at)
        document = self._once.find_one_and_update(
            {"_id": str(key), **usual},
            update,
            projection={"value": True},
            return_document=ReturnDocument.AFTER,
        )
        if document is None:
            return None
        return Counted(int(document["value"]))

    def _first_alone(self, key: Key) -> Counted:
        hour = bucket(datetime.now(UTC), "hour")
        written = self._write({key: 1}, f"{self._slot}:alone", time.monotonic_ns(), None)[key]
        if written.outcome == documents.OVER:
            raise OutOfBounds(too_far(key))
        self._known[key, _ALONE] = (hour, written.step)
        return Counted(written.value)

    def close(self) -> None:
        """Take nothing more, and finish what waits."""
        self._hits.close()
        self._keyed.close()
        if self._session is not None:
            self._session.end_session()

    # Plain hits

    def _commit_hits(self, keys: Sequence[Key], deadline: float) -> Sequence[Counted | Exception]:
        counts = _tally(keys)
        self._batch += 1
        batch = self._batch
        with translated():
            written = persist(
                lambda: self._write(counts, self._slot, batch, None), deadline, self._timeout
            )
        answers = _answers(keys, counts, written)
        for place, key in enumerate(keys):
            # Some of many may still find room where all together do not.
            if answers[place] is None:
                answers[place] = (
                    OutOfBounds(too_far(key))
                    if counts[key] == 1
                    else self._commit_hits([key], deadline)[0]
                )
        return [answer for answer in answers if answer is not None]

    def _write(
        self, counts: dict[Key, int], slot: str, batch: int, session: ClientSession | None
    ) -> dict[Key, _Written]:
        """Add hits to counters, each in one commit of its own unless there is a session."""
        at = datetime.now(UTC)
        hour = bucket(at, "hour")
        usual: dict[Key, int] = {}
        other = []
        for key in counts:
            seen, step = self._known.get((key, slot), (None, 0))
            if seen == hour:
                usual[key] = step
            else:
                other.append(key)
        writes = self._usual(counts, usual, slot, batch, at)
        written = self._sent(
            writes + self._any(counts, other, slot, batch, at), slot, batch, session
        )
        if changed := [key for key in usual if key not in written]:
            written |= self._sent(self._any(counts, changed, slot, batch, at), slot, batch, session)
        if len(written) < len(counts):
            # A primary that is none any more may answer with what it had before.
            raise AutoReconnect("some counters do not have what was just written")
        if len(self._known) > KNOWN:
            self._known.clear()
        for key in other + changed:
            self._known[key, slot] = (hour, written[key].step)
        return written

    def _usual(
        self, counts: dict[Key, int], steps: dict[Key, int], slot: str, batch: int, at: datetime
    ) -> list[_Update]:
        """Return the updates of counters that are as this process last saw them."""
        kinds: dict[tuple[int, int], list[Key]] = {}
        for key, step in steps.items():
            kinds.setdefault((counts[key], step), []).append(key)
        writes = []
        for (number, step), keys in kinds.items():
            usual, update = documents.more_hits(
                number, batch, step, slot=slot, node=self._node, at=at
            )
            writes.append(_Update(keys, usual, update))
        return writes

    def _any(
        self, counts: dict[Key, int], keys: list[Key], slot: str, batch: int, at: datetime
    ) -> list[_Update]:
        """Return the updates of counters in whatever state; they drop old history, too."""
        made: dict[int, Stages] = {}
        writes = []
        for key in keys:
            number = counts[key]
            # Many counters share one update: making it costs more than sending it.
            if number not in made:
                made[number] = documents.hits(number, batch, slot=slot, node=self._node, at=at)
            writes.append(_Update([key], {}, made[number]))
        return writes

    def _sent(
        self, writes: list[_Update], slot: str, batch: int, session: ClientSession | None
    ) -> dict[Key, _Written]:
        """Send updates and return what became of the batch where it was applied."""
        report = {"step": True, f"w.{slot}": True}
        wanted = [str(key) for write in writes for key in write.keys]
        if len(wanted) == 1:
            document = self._counters.find_one_and_update(
                {"_id": wanted[0], **writes[0].usual},
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
        return {
            documents.key_of(document["_id"]): _Written(
                last["r"], int(last["v"]), int(document["step"])
            )
            for document in found
            if (last := document.get("w", {}).get(slot)) and last["i"] == batch
        }

    # Batches with idempotency keys

    def _commit_keyed(
        self, items: Sequence[_Keyed], deadline: float
    ) -> Sequence[Counted | Exception]:
        token = ObjectId()
        with translated():
            try:
                known = persist(lambda: self._count_keyed(items, token), deadline, self._timeout)
            except _Refused as refused:
                # One of many cannot be counted: each for itself, then.
                if len(items) == 1:
                    return [refused.reason]
                return [self._commit_keyed([item], deadline)[0] for item in items]
        return [_answer(item, known[item.identity], token) for item in items]

    def _count_keyed(self, items: Sequence[_Keyed], token: ObjectId) -> dict[str, Document]:
        """Return the record of each item's key, after counting those that have none."""
        identities = list({item.identity for item in items})
        known = {record["_id"]: record for record in self._keys.find({"_id": {"$in": identities}})}
        fresh = {item.identity: item for item in items if item.identity not in known}
        if not fresh:
            return known
        if self._session is None:
            self._session = self._database.client.start_session()
        acknowledged = self._database.write_concern
        with self._session.start_transaction(ReadConcern("snapshot"), acknowledged):
            made = self._count_fresh(list(fresh.values()), token, self._session)
        return known | made

    def _count_fresh(
        self, items: Sequence[_Keyed], token: ObjectId, session: ClientSession
    ) -> dict[str, Document]:
        hits = [item for item in items if item.amount is None]
        values: dict[str, int] = {}
        if hits:
            counts = _tally([item.key for item in hits])
            slot = f"{self._slot}:keyed"
            written = self._write(counts, slot, time.monotonic_ns(), session)
            answers = _answers([item.key for item in hits], counts, written)
            for item, answer in zip(hits, answers, strict=True):
                if not isinstance(answer, Counted):
                    raise _Refused(OutOfBounds(too_far(item.key)))
                values[item.identity] = answer.value
        for item in items:
            if item.amount is not None:
                values[item.identity] = self._add_keyed(item, session)
        expires = datetime.now(UTC) + self._keep_keys
        made = {
            item.identity: {
                "_id": item.identity,
                "amount": item.amount,
                "value": values[item.identity],
                "token": token,
                "expires": expires,
            }
            for item in items
        }
        self._keys.insert_many(made.values(), ordered=False, session=session)
        return made

    def _add_keyed(self, item: _Keyed, session: ClientSession) -> int:
        found = self._counters.find_one({"_id": str(item.key)}, {"inc": True}, session=session)
        if found is None:
            raise _Refused(NotFound(f"There is no counter {item.key} any more"))
        assert item.amount is not None
        try:
            return add(self._counters, item.key, found["inc"], item.amount, session)
        except StoreError as error:
            raise _Refused(error) from None


def add(
    counters: Collection[Document],
    key: Key,
    inc: ObjectId,
    amount: int,
    session: ClientSession | None = None,
) -> int:
    """Add an amount to a counter that is there, and return its new value."""
    room = {"$gte": -LARGEST - min(amount, 0), "$lte": LARGEST - max(amount, 0)}
    after = counters.find_one_and_update(
        {"_id": str(key), "inc": inc, "value": room},
        documents.change(amount, None, datetime.now(UTC)),
        projection={"value": True},
        return_document=ReturnDocument.AFTER,
        session=session,
    )
    if after is not None:
        return int(after["value"])
    if counters.find_one({"_id": str(key), "inc": inc}, {"_id": True}, session=session):
        raise OutOfBounds(too_far(key))
    raise NotFound(f"There is no counter {key} any more")


def _request(write: _Update) -> UpdateOne | UpdateMany:
    identities = [str(key) for key in write.keys]
    if len(identities) == 1:
        return UpdateOne({"_id": identities[0], **write.usual}, write.update, upsert=write.upsert)
    # The server reads an update once for all counters that it changes, which costs it more than
    # changing them. Without the hint it would try the other indexes, too.
    return UpdateMany({"_id": {"$in": identities}, **write.usual}, write.update, hint="_id_")


def _tally(keys: Sequence[Key]) -> dict[Key, int]:
    counts: dict[Key, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return counts


def _answers(
    keys: Sequence[Key], counts: dict[Key, int], written: dict[Key, _Written]
) -> list[Counted | Exception | None]:
    """Deal out the values of each counter in the order of ``keys``; None where it was refused."""
    left = dict(counts)
    answers: list[Counted | Exception | None] = []
    for key in keys:
        outcome, value, step = written[key]
        left[key] -= 1
        answers.append(None if outcome == documents.OVER else Counted(value - step * left[key]))
    return answers


def _answer(item: _Keyed, record: Document, token: ObjectId) -> Counted | Exception:
    if record["amount"] != item.amount:
        return KeyReused(f"The idempotency key was used for something else on {item.key}")
    return Counted(int(record["value"]), replayed=record["token"] != token)


def too_far(key: Key) -> str:
    """Say that a counter is at its end."""
    return f"{key} cannot go beyond {LARGEST}"
