"""
Load a dump into another server: collections, documents, and at the end indexes and views.

All writes wait for a majority of the set. Nothing here reads files: documents come as bytes.
"""

from __future__ import annotations

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
# Batches that are on their way: one waits for the disks while the next is sent.
WORKERS = 4
# What is sorted at a time: twice that is in memory, what is inserted and what is read meanwhile.
RUN_BYTES = 32 << 20
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


def runs(documents: Iterable[bytes], order: Callable[[bytes], Any] | None) -> Iterator[list[bytes]]:
    """Yield documents in lists of :data:`RUN_BYTES` or little more, each sorted by ``order``."""
    run: list[bytes] = []
    size = 0
    for document in documents:
        run.append(document)
        size += len(document)
        if size >= RUN_BYTES:
            yield sorted(run, key=order) if order else run
            run, size = [], 0
    if run:
        yield sorted(run, key=order) if order else run


def insert(
    client: pymongo.MongoClient[Any],
    namespace: str,
    documents: Iterable[bytes],
    put_back: Callable[[str, bytes], dict[str, Any] | None],
    order: Callable[[bytes], Any] | None,
) -> None:
    """Insert documents, several batches at a time.

    A document whose ``_id`` is there already is passed over: it was deleted and inserted again
    while the dump was made, and the oplog has its last form.

    :param put_back: ``mongodb_digest.put_back``.
    :param order: ``mongodb_digest.order``; None for a capped collection, whose documents stay in
        the order that they come in. A member whose cache does not hold the whole index of ``_id``
        writes its pages again and again when documents come in any order, for more than half of
        all that it computes (``docs/performance.md``).
    :raises PyMongoError: the server refuses another one.
    """
    database, _, name = namespace.partition(".")
    target = client[database].get_collection(name, write_concern=WriteConcern("majority"))

    def put(batch: list[bytes]) -> None:
        raw = [RawBSONDocument(document) for document in batch]
        try:
            target.insert_many(raw, ordered=order is None, bypass_document_validation=True)
        except BulkWriteError as err:
            others = [e for e in err.details["writeErrors"] if e["code"] != DUPLICATE_KEY]
            unsure = err.details["writeConcernErrors"]
            if others or unsure:
                first = (others or unsure)[0]
                raise OperationFailure(first["errmsg"], first["code"], first) from err
        completed = [put_back(namespace, document) for document in batch]
        if any(completed):
            apply(client, [operation for operation in completed if operation])

    under_way: list[Future[None]] = []
    with ThreadPoolExecutor(1 if order is None else WORKERS) as pool:
        try:
            for run in runs(documents, order):
                for future in under_way:
                    future.result()
                under_way = [pool.submit(put, batch) for batch in batches(run)]
            for future in under_way:
                future.result()
        except BaseException:
            # What is not under way yet would be inserted before the error is told.
            pool.shutdown(cancel_futures=True)
            raise


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
