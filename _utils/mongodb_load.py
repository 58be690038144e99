"""
Load a dump into another server: collections, documents, and at the end indexes and views.

All writes wait for a majority of the set. Nothing here reads files: documents come as bytes.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from salt.exceptions import CommandExecutionError

try:
    import pymongo
    from bson.raw_bson import RawBSONDocument
    from pymongo.errors import BulkWriteError, OperationFailure
    from pymongo.write_concern import WriteConcern

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

MAJORITY = {"w": "majority"}
AT_ONCE = 1000
BYTES_AT_ONCE = 8 << 20
# Batches that are on their way: one waits for the disks while the next is read.
WORKERS = 4
DUPLICATE_KEY = 11000
# Removes documents: not before it has been looked whether all are there.
CLUSTERED_TTL = "expireAfterSeconds"


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


def create(client: pymongo.MongoClient[Any], namespace: str, options: Mapping[str, Any]) -> None:
    """Make a collection with its options, but no indexes."""
    database, _, name = namespace.partition(".")
    kept = {key: value for key, value in options.items() if key != CLUSTERED_TTL}
    client[database].command("create", name, writeConcern=MAJORITY, **kept)


def batches(documents: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield documents in lists that one command can carry."""
    batch: list[bytes] = []
    size = 0
    for document in documents:
        if batch and (len(batch) >= AT_ONCE or size + len(document) > BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += len(document)
    if batch:
        yield batch


def insert(
    client: pymongo.MongoClient[Any],
    namespace: str,
    documents: Iterable[bytes],
    put_back: Callable[[str, bytes], dict[str, Any] | None],
    in_order: bool = False,
) -> None:
    """Insert documents, several batches at a time.

    A document whose ``_id`` is there already is passed over: it was deleted and inserted again
    while the dump was made, and the oplog has its last form.

    :param put_back: ``mongodb_digest.put_back``.
    :param in_order: one batch after the other, for a capped collection.
    :raises PyMongoError: the server refuses another one.
    """
    database, _, name = namespace.partition(".")
    target = client[database].get_collection(name, write_concern=WriteConcern("majority"))

    def put(batch: list[bytes]) -> None:
        raw = [RawBSONDocument(document) for document in batch]
        try:
            target.insert_many(raw, ordered=in_order, bypass_document_validation=True)
        except BulkWriteError as err:
            others = [e for e in err.details["writeErrors"] if e["code"] != DUPLICATE_KEY]
            unsure = err.details["writeConcernErrors"]
            if others or unsure:
                first = (others or unsure)[0]
                raise OperationFailure(first["errmsg"], first["code"], first) from err
        completed = [put_back(namespace, document) for document in batch]
        if any(completed):
            apply(client, [operation for operation in completed if operation])

    with ThreadPoolExecutor(1 if in_order else WORKERS) as pool:
        under_way: collections.deque[Future[None]] = collections.deque()
        for batch in batches(documents):
            under_way.append(pool.submit(put, batch))
            if len(under_way) > WORKERS:
                under_way.popleft().result()
        for future in under_way:
            future.result()


def apply(client: pymongo.MongoClient[Any], operations: list[Any], **options: Any) -> None:
    """Apply operations of an oplog, in order.

    :raises PyMongoError: the server refuses one.
    """
    client.admin.command(
        "applyOps",
        operations,
        bypassDocumentValidation=True,
        writeConcern=MAJORITY,
        **options,
    )


def finish(client: pymongo.MongoClient[Any], catalog: Any) -> None:
    """Make the indexes and views of a catalog (``mongodb_catalog``), and let documents expire.

    :raises CommandExecutionError: the documents do not allow an index.
    """
    for namespace, indexes in sorted(catalog.indexes.items()):
        database, _, name = namespace.partition(".")
        if indexes:
            try:
                client[database].command(
                    "createIndexes", name, indexes=list(indexes.values()), writeConcern=MAJORITY
                )
            except OperationFailure as err:
                raise CommandExecutionError(
                    f"the indexes {', '.join(sorted(indexes))} of {namespace} cannot be made:"
                    f" {err}; all documents are restored"
                ) from err
        if CLUSTERED_TTL in catalog.options[namespace]:
            seconds = catalog.options[namespace][CLUSTERED_TTL]
            client[database].command(
                "collMod", name, expireAfterSeconds=seconds, writeConcern=MAJORITY
            )
    for namespace, view in sorted(catalog.views.items()):
        database, _, name = namespace.partition(".")
        client[database].command("create", name, writeConcern=MAJORITY, **view)


def documents(client: pymongo.MongoClient[Any], namespace: str) -> Iterator[bytes]:
    """Yield the documents of a collection as they are now, several whole ones at a time."""
    database, _, name = namespace.partition(".")
    with client[database][name].find_raw_batches() as cursor:
        for batch in cursor:
            if batch:
                yield batch


def standing(
    client: pymongo.MongoClient[Any], databases: Iterable[str]
) -> dict[str, dict[str, int]]:
    """Return how many documents the collections in these databases have, by database and name.

    A view has none.
    """
    there = set(client.list_database_names())
    found = {}
    for database in sorted(there & set(databases)):
        source = client[database]
        kinds = {info["name"]: info["type"] for info in source.list_collections()}
        found[database] = {
            name: 0 if kind == "view" else source[name].estimated_document_count()
            for name, kind in sorted(kinds.items())
            if not name.startswith("system.")
        }
    return {database: names for database, names in found.items() if names}


def drop(client: pymongo.MongoClient[Any], database: str) -> None:
    """Remove a database."""
    client[database].command("dropDatabase", writeConcern=MAJORITY)
