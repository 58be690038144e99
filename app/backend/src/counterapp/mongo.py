"""Counters in a MongoDB replica set: what the HTTP layer asks of a store, on the real database."""

import time
from collections.abc import Generator, Iterator, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
from bson import ObjectId
from pymongo import MongoClient, UpdateOne
from pymongo.database import Database
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    InvalidOperation,
    OperationFailure,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from counterapp import documents
from counterapp.batches import BATCH, Batches, add
from counterapp.counters import (
    AlreadyThere,
    Change,
    Counted,
    Counter,
    Forbidden,
    Key,
    NotFound,
    OutOfBounds,
    Plan,
    Record,
    Totals,
)
from counterapp.documents import Document, Stages
from counterapp.driver import DUPLICATE_KEY, PASSING, RETRY_PAUSE, translated, unavailable

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


class MongoStore:
    """A :class:`~counterapp.counters.CounterStore` on a MongoDB replica set.

    :param node: name of this node, for the share of it in each counter.
    :param timeout: seconds that a caller waits for a primary and the majority's acknowledgement.
    :param probe_timeout: seconds that :meth:`probe` may take altogether.
    :param waiting: how many hits may wait for their write; more are refused.
    :param keep_keys: seconds for which an idempotency key is remembered.
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
        waiting: int = 1000,
        keep_keys: int = 86400,
        combine: bool = True,
    ) -> None:
        self._probe_timeout = probe_timeout
        self._combine = combine
        # One retry, which the server recognises: a write cut off by a failover is made once.
        self._client = _client(uri, timeout, retry_writes=True)
        # Batches are recognised by what they leave in the counters. That the server should keep a
        # record of each of them besides would cost it a third more.
        self._batch_client = _client(uri, timeout, retry_writes=False)
        self._database = _database(self._client, database, timeout)
        self._counters = self._database["counters"]
        self._keys = self._database["idempotency"]
        self._readiness = self._database["readiness"]
        self._batches = Batches(
            _database(self._batch_client, database, timeout),
            self._counters,
            node=node,
            timeout=timeout,
            waiting=waiting,
            keep_keys=timedelta(seconds=keep_keys),
        )
        self._indexed = False
        self._closed = False
        self._totals: tuple[float, Totals] | None = None

    # Hits and updates

    def hit(self, key: Key, idempotency_key: str | None = None) -> Counted:
        if idempotency_key is not None:
            return self._batches.keyed(key, idempotency_key, None)
        if not self._combine:
            return self._batches.alone(key)
        return self._batches.hit(key)

    def add(
        self, key: Key, amount: int, admin: str | None, idempotency_key: str | None = None
    ) -> Counted:
        document = self._owned(key, admin)
        low, high = document["lower"], document["upper"]
        if (low is not None and amount < low) or (high is not None and amount > high):
            bounds = f"from {'any' if low is None else low} to {'any' if high is None else high}"
            raise OutOfBounds(f"The amounts that {key} takes are {bounds}, not {amount}")
        if idempotency_key is not None:
            return self._batches.keyed(key, idempotency_key, amount)
        with translated():
            return Counted(add(self._counters, key, document["inc"], amount))

    def set(self, key: Key, value: int, admin: str | None) -> tuple[int, int]:
        document = self._owned(key, admin, strictly=True)
        if not document["reset"]:
            raise Forbidden(f"{key} was made as a counter that cannot be set or reset")
        return self._set(key, document["inc"], value)

    def operator_set(self, key: Key, value: int) -> tuple[int, int]:
        return self._set(key, self._there(key)["inc"], value)

    # Counters

    def read(self, key: Key) -> Counter | None:
        document = self._find(key)
        return None if document is None else documents.counter(document)

    def create(self, key: Key, plan: Plan, admin: str | None) -> Counter:
        if key.reserved:
            raise AlreadyThere(f"{key} is the service's own counter")
        now = _now()
        expires = None if plan.lifetime is None else now + timedelta(seconds=plan.lifetime)
        document = documents.new(key, plan, admin, now, expires)
        with translated():
            self._drop_expired([key])
            try:
                self._counters.insert_one(document)
            except DuplicateKeyError:
                raise AlreadyThere(f"There is a counter {key} already") from None
        return documents.counter(document)

    def delete(self, key: Key, admin: str | None) -> None:
        self._delete(key, self._owned(key, admin, strictly=True)["inc"])

    def operator_delete(self, key: Key) -> None:
        self._delete(key, self._there(key)["inc"])

    def page(self, owner: str | None, after: Key | None, limit: int) -> list[Counter]:
        with translated():
            return [documents.counter(found) for found in self._listed(owner, after).limit(limit)]

    def all(self, owner: str | None) -> Iterator[Counter]:
        with translated():
            for found in self._listed(owner, None):
                yield documents.counter(found)

    def take(self, records: Sequence[Record], replace: bool, admin: str | None) -> list[bool]:
        free = [record for record in records if not record.key.reserved]
        taken = []
        with translated():
            for start in range(0, len(free), BATCH):
                taken += self._take(free[start : start + BATCH], replace, admin)
        answers = iter(taken)
        return [not record.key.reserved and next(answers) for record in records]

    def totals(self) -> Totals:
        known = self._totals
        if known is None or time.monotonic() - known[0] > TOTALS_AGE:
            space = {"$arrayElemAt": [{"$split": ["$_id", "/"]}, 0]}
            groups: Stages = [
                {"$group": {"_id": space, "counters": {"$sum": 1}, "hits": {"$sum": "$hits"}}}
            ]
            with translated():
                found = list(self._counters.aggregate(groups))
            sums = {name: sum(int(group[name]) for group in found) for name in ("counters", "hits")}
            self._totals = known = (time.monotonic(), Totals(namespaces=len(found), **sums))
        return known[1]

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
        return self._batches.waiting

    def probe(self, node: str) -> None:
        with translated(), pymongo.timeout(self._probe_timeout):
            if not self._indexed:
                for collection in (self._counters, self._keys):
                    collection.create_index("expires", expireAfterSeconds=0)
                self._counters.create_index([("admin", 1), ("_id", 1)], sparse=True)
                self._indexed = True
            self._readiness.update_one(
                {"_id": node}, {"$set": {"at": datetime.now(UTC)}}, upsert=True
            )

    def close(self) -> None:
        self._closed = True
        self._batches.close()
        self._batch_client.close()
        self._client.close()

    # One document

    def _find(self, key: Key) -> Document | None:
        with translated():
            return self._counters.find_one({"_id": str(key), **_alive()}, {"w": False})

    def _there(self, key: Key) -> Document:
        document = self._find(key)
        if document is None:
            raise NotFound(f"There is no counter {key}")
        return document

    def _owned(self, key: Key, admin: str | None, strictly: bool = False) -> Document:
        """Return a counter's document if ``admin`` may change it."""
        document = self._there(key)
        if document["admin"] is None and strictly:
            raise Forbidden(f"{key} was made by a hit and has no admin key")
        # Digests of random keys: how long a comparison takes tells nothing of the key.
        if document["admin"] is not None and document["admin"] != admin:
            raise Forbidden(f"The admin key is not that of {key}")
        return document

    def _set(self, key: Key, inc: ObjectId, value: int) -> tuple[int, int]:
        with translated():
            before = self._counters.find_one_and_update(
                {"_id": str(key), "inc": inc},
                documents.change(None, value, datetime.now(UTC)),
                projection={"value": True},
            )
        if before is None:
            raise NotFound(f"There is no counter {key} any more")
        return int(before["value"]), value

    def _delete(self, key: Key, inc: ObjectId) -> None:
        with translated():
            gone = self._counters.delete_one({"_id": str(key), "inc": inc}).deleted_count
            # Those of a counter that is made anew under this name are others.
            self._keys.delete_many({"_id": {"$gte": f"{key} ", "$lt": f"{key}!"}})
        if not gone:
            raise NotFound(f"There is no counter {key} any more")

    def _drop_expired(self, keys: Sequence[Key]) -> None:
        """Remove what has expired and the server, which does it once a minute, still has."""
        identities = [str(key) for key in keys]
        gone = {"_id": {"$in": identities}, "expires": {"$lte": datetime.now(UTC)}}
        self._counters.delete_many(gone)

    def _listed(self, owner: str | None, after: Key | None) -> Any:
        wanted: Document = _alive()
        if owner is not None:
            wanted["admin"] = owner
        if after is not None:
            wanted["_id"] = {"$gt": str(after)}
        return self._counters.find(wanted, {"w": False}).sort("_id", 1)

    def _take(self, records: Sequence[Record], replace: bool, admin: str | None) -> list[bool]:
        now = _now()
        self._drop_expired([record.key for record in records])
        made = self._upserted(
            [
                UpdateOne(
                    {"_id": str(record.key)},
                    {"$setOnInsert": documents.new(record.key, plan, admin, now, None)},
                    upsert=True,
                )
                for record in records
                for plan in [Plan(value=record.value)]
            ]
        )
        if not replace or admin is None:
            return [place in made for place in range(len(records))]
        taken = []
        for place, record in enumerate(records):
            if place not in made:
                mine = {"_id": str(record.key), "admin": admin}
                update = documents.change(None, record.value, now)
                taken.append(self._counters.update_one(mine, update).matched_count == 1)
            else:
                taken.append(True)
        return taken

    def _upserted(self, writes: list[UpdateOne]) -> Set[int]:
        """Return the positions of those writes that made a document."""
        try:
            result = self._counters.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            # Another node has made the very same one at this moment.
            if {found["code"] for found in error.details["writeErrors"]} - {DUPLICATE_KEY}:
                raise
            return frozenset(made["index"] for made in error.details["upserted"])
        return frozenset(result.upserted_ids or {})


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


def _now() -> datetime:
    # What MongoDB keeps of a moment.
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _alive() -> Document:
    return {"$or": [{"expires": None}, {"expires": {"$gt": datetime.now(UTC)}}]}


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
