"""Counters in MongoDB. The only module that knows the driver, the documents and its errors.

One document a counter: ``{_id: name, count: N, nodes: {node: n}}``. The total and the node's share
move in one update, so they agree at any time.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import pymongo
from pymongo import MongoClient, ReturnDocument
from pymongo.errors import (
    AutoReconnect,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

CONNECT_TIMEOUT = 2.0
"""Seconds until a host that does not even complete a connection counts as gone."""


class StoreUnavailable(Exception):
    """The database cannot do it now. The message is fit for clients: no address, no secret."""


@dataclass(frozen=True)
class Counter:
    """A counter as it was at one moment. ``nodes`` says how many hits came through which node."""

    name: str
    count: int
    nodes: dict[str, int]


class CounterStore(Protocol):
    """What the HTTP layer needs of a store. Every method raises only ``StoreUnavailable``."""

    def hit(self, name: str, node: str) -> int:
        """Add one to counter ``name``, made if need be, and return the new count.

        Returns only when a majority of the replica set has the hit in its journal. After
        ``StoreUnavailable`` the hit may or may not have been counted.
        """

    def read(self, name: str) -> Counter | None:
        """Return what the majority has of counter ``name``; None if there never was a hit."""

    def probe(self, node: str) -> None:
        """Do a write as durable as a hit within the short time that readiness may take."""

    def close(self) -> None:
        """Give the connections back."""


class MongoStore:
    """A :class:`CounterStore` on a MongoDB replica set.

    :param timeout: seconds that finding a primary may take, and again the acknowledgement.
    :param probe_timeout: seconds that :meth:`probe` may take altogether.
    """

    def __init__(self, uri: str, database: str, timeout: float, probe_timeout: float) -> None:
        self._probe_timeout = probe_timeout
        self._client: MongoClient[dict[str, Any]] = MongoClient(
            uri,
            # Threads and sockets must not be made before a fork: the first use makes them.
            connect=False,
            appname="counterapp",
            serverSelectionTimeoutMS=int(timeout * 1000),
            connectTimeoutMS=int(CONNECT_TIMEOUT * 1000),
            # The server's own answer that the majority is late should win this race.
            socketTimeoutMS=int((timeout + CONNECT_TIMEOUT) * 1000),
            waitQueueTimeoutMS=int(timeout * 1000),
            # One retry, which the server recognises: a hit cut off by a failover counts once.
            retryWrites=True,
            retryReads=True,
        )
        acknowledged = WriteConcern(w="majority", j=True, wtimeout=int(timeout * 1000))
        self._database = self._client.get_database(
            database, write_concern=acknowledged, read_concern=ReadConcern("majority")
        )
        self._counters = self._database["counters"]
        self._readiness = self._database["readiness"]

    def hit(self, name: str, node: str) -> int:
        try:
            document = self._counters.find_one_and_update(
                {"_id": name},
                {"$inc": {"count": 1, f"nodes.{_field(node)}": 1}},
                projection={"count": True},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except PyMongoError as error:
            raise _unavailable(error) from error
        # With upsert there is always a document to give back.
        assert document is not None
        return int(document["count"])

    def read(self, name: str) -> Counter | None:
        try:
            document = self._counters.find_one({"_id": name})
        except PyMongoError as error:
            raise _unavailable(error) from error
        if document is None:
            return None
        nodes = {_node(key): int(value) for key, value in document["nodes"].items()}
        return Counter(name=name, count=int(document["count"]), nodes=nodes)

    def probe(self, node: str) -> None:
        try:
            with pymongo.timeout(self._probe_timeout):
                self._readiness.update_one(
                    {"_id": node}, {"$set": {"at": datetime.now(UTC)}}, upsert=True
                )
        except PyMongoError as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        self._client.close()


def _field(node: str) -> str:
    # A dot would make MongoDB nest; node names cannot have a '%' of their own.
    return node.replace(".", "%2E")


def _node(field: str) -> str:
    return field.replace("%2E", ".")


def _unavailable(error: PyMongoError) -> StoreUnavailable:
    if isinstance(error, ServerSelectionTimeoutError):
        return StoreUnavailable("The database has no primary that can be reached")
    if isinstance(error, WriteConcernError):
        return StoreUnavailable("No majority of the database acknowledged in time")
    if isinstance(error, (NotPrimaryError, AutoReconnect)) or error.timeout:
        return StoreUnavailable("The database did not answer in time")
    if isinstance(error, OperationFailure):
        return StoreUnavailable(f"The database refused the operation (code {error.code})")
    return StoreUnavailable("The database cannot be used")
