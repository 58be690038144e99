"""Counters in a MongoDB replica set: what the HTTP layer asks of a store, on the real database."""

import logging
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import pymongo
from bson import ObjectId
from pymongo import MongoClient, ReturnDocument
from pymongo.database import Database
from pymongo.errors import ConnectionFailure, InvalidOperation, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from counterapp import documents, gate, imports, updates
from counterapp.batches import Batches, Singles
from counterapp.clock import DatabaseClock
from counterapp.counters import (
    DEFAULT_NAMESPACE,
    SHARED,
    AlreadyThere,
    Change,
    Counted,
    Counter,
    Forbidden,
    Full,
    Key,
    NotFound,
    OutOfBounds,
    Plan,
    Record,
    Refusal,
    Totals,
)
from counterapp.documents import Document, Stages
from counterapp.driver import PASSING, RETRY_PAUSE, translated, unavailable
from counterapp.keyed import KeyedBatches, add
from counterapp.room import Room
from counterapp.shared import Shared

TRIES = 4
"""Tries of a batch for which there is time. A primary that is frozen, or whose machine has lost its
power, does not say so: a try that it was sent ends with its time alone, while another one is
elected."""

CONNECT_TIMEOUT = 2.0
"""Seconds until a host that does not even complete a connection counts as gone."""

_TOLD = (
    "documentKey",
    "operationType",
    *(
        f"{place}.{field}"
        for place in ("updateDescription.updatedFields", "fullDocument")
        for field in ("value", "by")
    ),
)
_CHANGES: Stages = [
    {"$match": {"operationType": {"$in": ["insert", "update", "replace", "delete"]}}},
    # Without the history, which is most of a change.
    {"$project": dict.fromkeys(_TOLD, True)},
]

TOTALS_AGE = 5.0
"""Seconds for which the totals, which read every counter, are given again."""

INDEXING = 3600.0
"""Seconds that making the indexes may take; the next probe begins anew."""

EXPORTED = 500
"""Counters that an export reads at a time."""

log = logging.getLogger(__name__)

_LAST = "\x7f"
"""Comes behind all that names have."""


class MongoStore:
    """A :class:`~counterapp.counters.CounterStore` on a MongoDB replica set.

    :param node: name of this node, for the share of it in each counter.
    :param timeout: seconds that a caller waits for a primary and the majority's acknowledgement.
    :param probe_timeout: seconds that :meth:`probe` may take altogether.
    :param waiting: how many hits may wait for their write, and how many other requests for their
        answers; more are refused.
    :param keep_keys: seconds for which an idempotency key is remembered.
    :param unowned_lifetime: days for which a counter that nobody owns is kept unchanged.
    :param most_counters: how many counters there may be.
    :param most_keys: how many idempotency keys there may be.
    :param combine: False to write once for each hit, to measure what combining brings.
    """

    def __init__(
        self,
        uri: str,
        database: str,
        *,
        node: str,
        timeout: float,
        probe_timeout: float,
        hit_deadline: float = 8.0,
        waiting: int = 1000,
        keep_keys: int = 86400,
        unowned_lifetime: int = 180,
        most_counters: int = 10_000_000,
        most_keys: int = 10_000_000,
        combine: bool = True,
    ) -> None:
        self._timeout = timeout
        self._probe_timeout = probe_timeout
        self._idle = unowned_lifetime * updates.DAY
        # One retry, which the server recognises: a write cut off by a failover is made once.
        self._client = _client(uri, timeout, retry_writes=True)
        # Batches are recognised by what they leave in the counters. That the server should keep a
        # record of each of them besides would cost it a third more.
        self._batch_client = _client(uri, timeout, retry_writes=False)
        self._database = _database(self._client, database, timeout)
        self._counters = self._database["counters"]
        self._keys = self._database["idempotency"]
        self._readiness = self._database["readiness"]
        self._room = Room(self._counters, most_counters)
        self.clock = DatabaseClock()
        self._hits_gate = gate.hits(waiting)
        attempt = min(timeout, hit_deadline / TRIES)
        batched = _database(self._batch_client, database, timeout)
        self._batches = Batches(
            batched["counters"],
            node=node,
            clock=self.clock,
            timeout=attempt,
            deadline=hit_deadline,
            gate=self._hits_gate,
            lifetime=self._idle,
            room=self._room,
        )
        self._keyed = KeyedBatches(
            batched,
            node=node,
            clock=self.clock,
            timeout=attempt,
            deadline=hit_deadline,
            gate=self._hits_gate,
            keep=timedelta(seconds=keep_keys),
            lifetime=self._idle,
            counters_room=self._room,
            keys_room=Room(self._keys, most_keys),
        )
        self._singles = None
        if not combine:
            self._singles = Singles(
                self._counters, node=node, clock=self.clock, lifetime=self._idle
            )
        self._gate = gate.Gate(waiting)
        self._totals = Shared(self._count_all, TOTALS_AGE)
        self._indexed = threading.Event()
        self._indexing = threading.Lock()
        self._closed = False

    # Hits and updates

    def hit(self, key: Key, idempotency_key: str | None = None, *, make: bool = True) -> Counted:
        if idempotency_key is not None:
            return self._keyed.hit(key, idempotency_key, make)
        if self._singles is not None:
            return self._singles.hit(key)
        return self._batches.hit(key, make)

    def add(
        self, key: Key, amount: int, admin: str | None, idempotency_key: str | None = None
    ) -> Counted:
        with self._asked():
            document = self._owned(key, admin)
            low, high = document["lower"], document["upper"]
            if (low is not None and amount < low) or (high is not None and amount > high):
                span = f"from {'any' if low is None else low} to {'any' if high is None else high}"
                raise OutOfBounds(f"The amounts that {key} takes are {span}, not {amount}")
            if idempotency_key is None:
                done = add(self._counters, key, document["inc"], amount, self._idle)
                return Counted(done[0])
        return self._keyed.add(key, idempotency_key, amount, document["inc"])

    def set(self, key: Key, value: int, admin: str | None) -> tuple[int, int]:
        with self._asked():
            document = self._owned(key, admin)
            if not document["reset"]:
                raise Forbidden(f"{key} was made as a counter that cannot be set or reset")
            return self._set(key, document["inc"], value)

    def operator_set(self, key: Key, value: int) -> tuple[int, int]:
        with self._asked():
            return self._set(key, self._there(key)["inc"], value)

    # Counters

    def read(self, key: Key) -> Counter | None:
        with self._asked():
            document = self._find(key)
        return None if document is None else documents.counter(document)

    def create(self, key: Key, plan: Plan, admin: str | None) -> Counter:
        if key.reserved:
            raise AlreadyThere(f"{key} is the service's own counter")
        inc = ObjectId()
        with self._asked():
            if not self._room.free():
                if self._find(key):
                    raise AlreadyThere(f"There is a counter {key} already")
                raise Full(f"There is no room for more than {self._room.most} counters")
            made = self._counters.find_one_and_update(
                {"_id": str(key)},
                updates.create(plan, admin, inc, self._idle),
                projection=documents.PROJECTION,
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        if made is None or made["inc"] != inc:
            raise AlreadyThere(f"There is a counter {key} already")
        self._room.use(1)
        return documents.counter(made)

    def delete(self, key: Key, admin: str | None) -> None:
        with self._asked():
            self._delete(key, self._owned(key, admin, strictly=True)["inc"])

    def operator_delete(self, key: Key) -> None:
        with self._asked():
            self._delete(key, self._there(key)["inc"])

    def operator_count(self, prefix: str) -> int:
        with self._asked():
            return self._counters.count_documents(_beginning(prefix), hint="_id_")

    def operator_delete_all(self, prefix: str, limit: int) -> int:
        with self._asked():
            found = list(self._counters.find(_beginning(prefix), {"inc": True}).limit(limit))
            if not found:
                return 0
            names = [document["_id"] for document in found]
            # One that was made anew meanwhile is another.
            these = {"inc": {"$in": [document["inc"] for document in found]}}
            gone = self._counters.delete_many({"_id": {"$in": names}, **these}).deleted_count
            keys = {"_id": {"$gte": f"{min(names)} ", "$lt": f"{max(names)}!"}, **these}
            self._keys.delete_many(keys)
        return gone

    def page(self, owner: str | None, after: Key | None, limit: int) -> list[Counter]:
        wanted: Document = {**documents.ALIVE}
        if owner is not None:
            wanted["admin"] = owner
        if after is not None:
            wanted["_id"] = {"$gt": str(after)}
        with self._asked():
            found = self._counters.find(wanted, documents.PROJECTION).sort("_id", 1).limit(limit)
            return [documents.counter(document) for document in found]

    def all(self, owner: str | None) -> Iterator[Counter]:
        after = None
        while page := self.page(owner, after, EXPORTED):
            yield from page
            after = page[-1].key

    def take(
        self, records: Sequence[Record], replace: bool, admin: str
    ) -> Sequence[Refusal | None]:
        free = [record for record in records if not record.key.reserved]
        reasons: dict[Key, Refusal | None] = {}
        if free:
            with self._asked():
                reasons = imports.take(self._counters, self._room, free, replace, admin)
        return [reasons.get(record.key, Refusal.RESERVED) for record in records]

    def totals(self) -> Totals:
        return self._totals.get()

    def changes(self) -> Generator[Change | None, None, None]:
        while True:
            try:
                with self._counters.watch(_CHANGES) as stream:
                    while stream.alive:
                        event = stream.try_next()
                        if event is None:
                            yield None
                        elif found := _change(event):
                            yield found
            except (ConnectionFailure, OperationFailure) as error:
                # The driver has tried itself to go on; what was missed, the next value makes good.
                if isinstance(error, OperationFailure) and error.code not in PASSING:
                    raise unavailable(error) from error
                time.sleep(RETRY_PAUSE)
            except InvalidOperation:
                # The client was closed under the stream: there is nothing more to tell.
                if not self._closed:
                    raise
                return

    def waiting(self) -> int:
        return self._hits_gate.inside

    def probe(self, node: str) -> None:
        end = time.monotonic() + self._probe_timeout
        with translated(), pymongo.timeout(self._probe_timeout):
            self._readiness.update_one({"_id": node}, {"$currentDate": {"at": True}}, upsert=True)
        if not self._indexed.is_set():
            self._index(end)

    def close(self) -> None:
        self._closed = True
        self._batches.close()
        self._keyed.close()
        self._batch_client.close()
        self._client.close()

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """What every request but a hit comes through: not too many, and not for too long."""
        with self._gate, translated(), pymongo.timeout(self._timeout):
            yield

    def _index(self, end: float) -> None:
        """Have the indexes made, and wait for them until a ``time.monotonic()`` at the latest."""
        if self._indexing.acquire(blocking=False):
            threading.Thread(target=self._make_indexes, name="indexes", daemon=True).start()
        self._indexed.wait(max(0, end - time.monotonic()))

    def _make_indexes(self) -> None:
        # Where a release brings a new one, there may be many counters to go through: the node can
        # serve meanwhile.
        try:
            with pymongo.timeout(INDEXING):
                for collection in (self._counters, self._keys):
                    collection.create_index("expires", expireAfterSeconds=0)
                self._counters.create_index("idle", expireAfterSeconds=0, sparse=True)
                self._counters.create_index([("admin", 1), ("_id", 1)], sparse=True)
            self._indexed.set()
        except PyMongoError as error:
            log.warning(
                "no indexes yet: %s", unavailable(error), extra={"cause": repr(error)[:500]}
            )
        finally:
            self._indexing.release()

    # One document, for who has come through the gate

    def _find(self, key: Key) -> Document | None:
        wanted = {"_id": str(key), **documents.ALIVE}
        found: Document | None = self._counters.find_one(wanted, documents.PROJECTION)
        return found

    def _there(self, key: Key) -> Document:
        document = self._find(key)
        if document is None:
            raise NotFound(f"There is no counter {key}")
        return document

    def _owned(self, key: Key, admin: str | None, strictly: bool = False) -> Document:
        """Return a counter's document if ``admin`` may change it."""
        document = self._there(key)
        if document["admin"] is None and strictly:
            raise Forbidden(f"Nobody owns {key}, so only an operator can delete it")
        # Digests of random keys: how long a comparison takes tells nothing of the key.
        if document["admin"] is not None and document["admin"] != admin:
            raise Forbidden(f"The admin key is not that of {key}")
        return document

    def _set(self, key: Key, inc: ObjectId, value: int) -> tuple[int, int]:
        before = self._counters.find_one_and_update(
            {"_id": str(key), "inc": inc, **documents.ALIVE},
            updates.put(value, ObjectId(), self._idle),
            projection={"value": True},
        )
        if before is None:
            raise NotFound(f"There is no counter {key} any more")
        return int(before["value"]), value

    def _delete(self, key: Key, inc: ObjectId) -> None:
        gone = self._counters.delete_one({"_id": str(key), "inc": inc}).deleted_count
        # They say nothing of a counter that is made anew under this name: this only clears away.
        self._keys.delete_many({"_id": {"$gte": f"{key} ", "$lt": f"{key}!"}, "inc": inc})
        if not gone:
            raise NotFound(f"There is no counter {key} any more")

    # Many documents

    def _count_all(self) -> Totals:
        space = {"$arrayElemAt": [{"$split": ["$_id", "/"]}, 0]}
        groups: Stages = [
            {"$group": {"_id": space, "counters": {"$sum": 1}, "hits": {"$sum": "$hits"}}},
            {
                "$group": {
                    "_id": None,
                    "namespaces": {"$sum": 1},
                    "counters": {"$sum": "$counters"},
                    "hits": {"$sum": "$hits"},
                }
            },
        ]
        with translated(), pymongo.timeout(self._timeout):
            found = next(iter(self._counters.aggregate(groups)), None)
        if found is None:
            return Totals(0, 0, 0)
        return Totals(int(found["counters"]), int(found["namespaces"]), int(found["hits"]))


def _beginning(prefix: str) -> Document:
    """Return the filter for the counters that an operator means by a prefix."""
    return {
        "_id": {"$gte": prefix, "$lt": f"{prefix}{_LAST}", "$ne": f"{DEFAULT_NAMESPACE}/{SHARED}"}
    }


def _client(uri: str, timeout: float, *, retry_writes: bool) -> MongoClient[Document]:
    return MongoClient(
        uri,
        # Threads and sockets must not be made before a fork: the first use makes them.
        connect=False,
        appname="counterapp",
        tz_aware=True,
        serverSelectionTimeoutMS=int(timeout * 1000),
        connectTimeoutMS=int(CONNECT_TIMEOUT * 1000),
        # The server's own answer that the majority is late should win this race.
        socketTimeoutMS=int((timeout + CONNECT_TIMEOUT) * 1000),
        waitQueueTimeoutMS=int(timeout * 1000),
        retryWrites=retry_writes,
        retryReads=True,
    )


def _database(client: MongoClient[Document], name: str, timeout: float) -> Database[Document]:
    acknowledged = WriteConcern(w="majority", j=True, wtimeout=int(timeout * 1000))
    return client.get_database(
        name, write_concern=acknowledged, read_concern=ReadConcern("majority")
    )


def _change(event: Document) -> Change | None:
    key = documents.key_of(event["documentKey"]["_id"])
    if event["operationType"] == "delete":
        return Change(key, None)
    update = event["operationType"] == "update"
    fields = event["updateDescription"]["updatedFields"] if update else event["fullDocument"]
    if "value" not in fields:
        return None
    node = fields.get("by", "").partition(" ")[0] or None
    return Change(key, int(fields["value"]), node)
