"""
Read the collections of a member for a dump: which there are, their documents, and what some of them
were at one moment.

All is read with read concern ``majority``: nothing that an election could take back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from salt.exceptions import CommandExecutionError

try:
    import pymongo
    from bson import Timestamp
    from bson.codec_options import CodecOptions
    from bson.raw_bson import RawBSONDocument
    from pymongo.errors import OperationFailure
    from pymongo.read_concern import ReadConcern

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

MAJORITY = "majority"
NAMESPACE_NOT_FOUND = 26
# What a cursor meets whose collection is dropped or renamed: QueryPlanKilled, CursorNotFound.
GONE = frozenset({NAMESPACE_NOT_FOUND, 43, 175})
# A collection that was made or changed too lately to be read as a majority has it.
SNAPSHOT_UNAVAILABLE = 246
SNAPSHOT_TOO_OLD = 239
AT_ONCE = 1000


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


def collections(
    client: pymongo.MongoClient[Any],
    is_ours: Callable[[str], bool],
    refusal: Callable[[str, str], str],
) -> list[dict[str, Any]]:
    """Return the collections and views of all databases but the server's own, in order.

    Each is a dict of ``namespace``, ``database``, ``name``, ``type`` (``collection`` or ``view``),
    ``options``, ``uuid`` (hexadecimal digits) and ``indexes`` (those that are finished).

    :param is_ours: ``mongodb_oplog.is_ours``.
    :param refusal: ``mongodb_window.refusal``.
    :raises CommandExecutionError: one is a time series.
    """
    found = []
    for database in sorted(client.list_database_names()):
        if not is_ours(f"{database}."):
            continue
        for info in sorted(client[database].list_collections(), key=lambda each: str(each["name"])):
            name = info["name"]
            if info["type"] == "timeseries":
                raise CommandExecutionError(refusal(database, name))
            if name.startswith("system.") and name != "system.js":
                continue
            indexes = _indexes(client, database, name) if info["type"] == "collection" else []
            if indexes is not None:
                found.append(
                    {
                        "namespace": f"{database}.{name}",
                        "database": database,
                        "name": name,
                        "type": info["type"],
                        "options": info["options"],
                        "uuid": bytes(info["info"].get("uuid") or b"").hex(),
                        "indexes": indexes,
                    }
                )
    return found


def _indexes(client: pymongo.MongoClient[Any], database: str, name: str) -> list[Any] | None:
    """Return the specifications of the indexes, or None if the collection is gone meanwhile."""
    try:
        cursor = client[database].cursor_command("listIndexes", name, includeBuildUUIDs=True)
        # One that is being built has a UUID; the oplog tells when it is finished.
        return [dict(index) for index in cursor if "buildUUID" not in index]
    except OperationFailure as err:
        if err.code == NAMESPACE_NOT_FOUND:
            return None
        raise


def documents(
    client: pymongo.MongoClient[Any], database: str, name: str, patience: float
) -> Iterator[bytes]:
    """Yield the documents of a collection, several whole ones at a time.

    A collection that is not there has none.

    :param patience: seconds to wait until a majority has a collection that was just made.
    :raises InterruptedError: the collection was dropped or renamed meanwhile.
    """
    collection = client[database].get_collection(name, read_concern=ReadConcern(MAJORITY))
    deadline = time.monotonic() + patience
    while True:
        begun = False
        try:
            # Without a number it is 16 MiB, which keeps both processes busy for long.
            with collection.find_raw_batches(batch_size=AT_ONCE) as cursor:
                for batch in cursor:
                    begun = True
                    if batch:
                        yield batch
            return
        except OperationFailure as err:
            if err.code == SNAPSHOT_UNAVAILABLE and not begun and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            if err.code in GONE:
                raise InterruptedError(str(err)) from err
            raise


def documents_at(
    client: pymongo.MongoClient[Any],
    database: str,
    name: str,
    ids: Sequence[Any],
    moment: Timestamp,
) -> Iterator[bytes]:
    """Yield those of the documents with these ``_id`` that there were at an operation time.

    :raises LookupError: the server does not know any more, or never did: it keeps what was for
        ``minSnapshotHistoryWindowInSeconds``, and can be asked since MongoDB 5.0.
    """
    options: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
    # For the first answer it is the command that says how to decode, for the next the database.
    source = client.get_database(database, codec_options=options)
    for begin in range(0, len(ids), AT_ONCE):
        try:
            cursor = source.cursor_command(
                "find",
                name,
                filter={"_id": {"$in": list(ids[begin : begin + AT_ONCE])}},
                readConcern={"level": "snapshot", "atClusterTime": moment},
                batchSize=AT_ONCE,
                codec_options=options,
            )
            for document in cursor:
                yield bytes(document.raw)
        except OperationFailure as err:
            raise LookupError(str(err)) from err
