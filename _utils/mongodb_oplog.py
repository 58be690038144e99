"""
The oplog of a replica set: entries in order, majority-committed ones only, and none left out.

An entry is a ``RawBSONDocument``, an operation time the ``ts`` of one. A backup reads the oplog
beside its dump; an archiver would read it for ever: each asks a :class:`Reader` for what is new,
as often as it likes, and hears of it when the oplog has rolled over what it had not read yet.

Entries that are missing are never passed over in silence: what follows an operation time must begin
with the entry of that time, on every member and in every file. So two files follow each other if
the second begins with the last entry of the first.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from salt.exceptions import CommandExecutionError

try:
    import bson
    import pymongo
    from bson import Timestamp
    from bson.codec_options import CodecOptions
    from bson.raw_bson import RawBSONDocument
    from pymongo.collection import Collection
    from pymongo.errors import OperationFailure
    from pymongo.read_concern import ReadConcern

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

Entry = Mapping[str, Any]
# The oplog rolled over the place where a cursor was.
CAPPED_POSITION_LOST = 136
# What a time written with a colon is at least, when YAML has read it as a number of base 60.
SEXAGESIMAL = 10**10


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


class RolledOver(CommandExecutionError, LookupError):
    """What follows an operation time is not in the oplog of a member any more."""


# Times


def text(moment: Timestamp) -> str:
    """Return an operation time as ``SECONDS:ORDINAL``, as mongorestore takes it."""
    return f"{moment.time}:{moment.inc}"


def moment(written: str) -> Timestamp:
    """Return the operation time that :func:`text` wrote; else ``ValueError``."""
    seconds, colon, ordinal = str(written).partition(":")
    if not (colon and seconds.isdecimal() and ordinal.isdecimal()):
        raise ValueError(f"{written!r} is no operation time: write SECONDS:ORDINAL")
    try:
        return Timestamp(int(seconds), int(ordinal))
    except ValueError as err:
        raise ValueError(f"{written!r} is no operation time: {err}") from err


def target(written: str | int) -> Timestamp | datetime.datetime:
    """Return the operation time or the moment on the wall clock that a user wrote.

    :param written: ``SECONDS:ORDINAL``, or ISO 8601 with a zone (``2026-11-28T03:12:00Z``).
    :raises ValueError: it is neither; the message says how to write it.
    """
    if isinstance(written, int) and written >= SEXAGESIMAL:
        written = ":".join(map(str, divmod(written, 60)))
    written = str(written)
    try:
        return moment(written)
    except ValueError:
        pass
    try:
        when = datetime.datetime.fromisoformat(written)
    except ValueError as err:
        raise ValueError(
            f"{written!r} is no target: write an operation time as SECONDS:ORDINAL, or a time with"
            " its zone, like 2026-11-28T03:12:00Z"
        ) from err
    if when.tzinfo is None:
        raise ValueError(f"{written!r} has no zone: write {written}Z for UTC")
    return when.astimezone(datetime.UTC)


def wall(entry: Entry) -> datetime.datetime:
    """Return what the primary's clock showed when it wrote an entry, in UTC."""
    when: datetime.datetime = entry["wall"]
    return when if when.tzinfo else when.replace(tzinfo=datetime.UTC)


def beyond(entry: Entry, limit: Timestamp | datetime.datetime) -> bool:
    """Tell whether an entry comes after a :func:`target`."""
    if isinstance(limit, Timestamp):
        return bool(entry["ts"] > limit)
    return wall(entry) > limit


# A member


def position(client: pymongo.MongoClient[Any]) -> dict[str, Any]:
    """Return how far a member is: operation times of what it has ``applied``, and of what a
    majority has ``committed`` as far as this member knows.
    """
    last = client.admin.command("hello")["lastWrite"]
    return {"applied": last["opTime"]["ts"], "committed": last["majorityOpTime"]["ts"]}


def first_needed(client: pymongo.MongoClient[Any]) -> Timestamp:
    """Return from where on the oplog is needed to bring what is read from now on to a later time.

    That is what a majority has committed by now, or the beginning of a transaction that has not
    ended on this member yet: its entries lie before the one that ends it.
    """
    committed: Timestamp = position(client)["committed"]
    transactions = client.config.get_collection("transactions", read_concern=ReadConcern("local"))
    oldest = transactions.find_one(
        {"state": {"$in": ["prepared", "inProgress"]}, "startOpTime": {"$exists": True}},
        {"startOpTime": 1},
        sort=[("startOpTime.ts", 1)],
    )
    return min(committed, oldest["startOpTime"]["ts"]) if oldest else committed


def wait_committed(
    client: pymongo.MongoClient[Any], floor: Timestamp, timeout: float, pause: float = 0.1
) -> Timestamp:
    """Wait until a majority has committed ``floor`` and this member knows; return its newest.

    :raises CommandExecutionError: that is not so within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        committed: Timestamp = position(client)["committed"]
        if committed >= floor:
            return committed
        if time.monotonic() >= deadline:
            raise CommandExecutionError(
                f"no majority of the set has committed {text(floor)} within {timeout:g} s"
                f" ({text(committed)} is the last): look at salt '<id>' mongodb.status"
            )
        time.sleep(pause)


class Reader:
    """The majority-committed entries of a member from ``start`` on, each once."""

    def __init__(self, client: pymongo.MongoClient[Any], start: Timestamp) -> None:
        self.start = start
        #: Operation time of the last entry that was given.
        self.last: Timestamp | None = None
        self._oplog = _collection(client)

    def pull(self, until: Timestamp | None = None) -> Iterator[RawBSONDocument]:
        """Yield the entries that there are now and were not given yet; ``until`` is the last.

        It ends where a majority has committed no more, and can be called again.

        :raises RolledOver: the oplog has rolled over entries that were not read.
        """
        seek = self.last or self.start
        wanted: dict[str, Any] = {"$gte": seek} if until is None else {"$gte": seek, "$lte": until}
        anchored = False
        try:
            with self._oplog.find({"ts": wanted}) as cursor:
                for entry in cursor:
                    if not anchored:
                        anchored = True
                        if entry["ts"] != seek:
                            raise rolled_over(seek)
                        if self.last is not None:
                            continue
                    self.last = entry["ts"]
                    yield entry
        except OperationFailure as err:
            if err.code != CAPPED_POSITION_LOST:
                raise
            raise rolled_over(self.last or seek) from err


def _collection(client: pymongo.MongoClient[Any]) -> Collection[RawBSONDocument]:
    return client.local.get_collection(
        "oplog.rs",
        read_concern=ReadConcern("majority"),
        codec_options=CodecOptions(document_class=RawBSONDocument, tz_aware=True),
    )


def first_from(
    client: pymongo.MongoClient[Any], start: Timestamp, **wanted: Any
) -> RawBSONDocument | None:
    """Return the first entry of a member at or after an operation time, as a majority has it.

    :param wanted: what it has to have besides.
    """
    return _collection(client).find_one(
        {"ts": {"$gte": start}, **wanted}, sort=[("$natural", pymongo.ASCENDING)]
    )


def rolled_over(since: Timestamp) -> RolledOver:
    """Return the error that a member does not have what follows an operation time any more."""
    return RolledOver(
        f"the oplog of this member no longer has what follows {text(since)}: more was written"
        " than it holds. Make a new backup, and the oplog larger (replSetResizeOplog)"
    )


def reader(client: pymongo.MongoClient[Any], start: Timestamp) -> Reader:
    """Return a reader of the entries from that of ``start`` on."""
    return Reader(client, start)


# Files and other sources


def chain(
    sources: Iterable[tuple[str, Callable[[], Iterable[Entry]]]],
) -> Iterator[Entry]:
    """Yield the entries of several sources as of one, each once.

    :param sources: the name of each, for errors, and what gives its entries; in their order.
    :raises CommandExecutionError: one begins behind the end of those before it, or its entries are
        not in order.
    """
    last: Timestamp | None = None
    for name, entries in sources:
        newest: Timestamp | None = None
        for entry in entries():
            at = entry["ts"]
            if newest is None and last is not None and at > last:
                raise CommandExecutionError(
                    f"{name} begins with {text(at)}, and the oplog before it ends with"
                    f" {text(last)}: what lies between them is missing"
                )
            if newest is not None and at <= newest:
                raise CommandExecutionError(
                    f"{name} is out of order: {text(at)} follows {text(newest)}"
                )
            newest = at
            if last is None or at > last:
                yield entry
        if newest is not None and (last is None or newest > last):
            last = newest


def operations(entry: Entry) -> Iterator[Entry]:
    """Yield the operations of an entry: those within ``applyOps``, else the entry itself."""
    if entry["op"] == "c" and "applyOps" in entry["o"]:
        for inner in entry["o"]["applyOps"]:
            yield from operations(inner)
    else:
        yield entry


def is_ours(namespace: str) -> bool:
    """Tell whether a namespace (``database.collection``) is a user's, and no part of the server."""
    database = namespace.partition(".")[0]
    return database not in ("", "admin", "config", "local") and not database.startswith(
        "__mdb_internal"
    )


def without_secrets(entry: RawBSONDocument) -> bytes:
    """Return an entry as it is kept: what users' data does not need is an entry that says nothing.

    Users, their passwords' hashes and the set's keys are in the oplog as well. Such an entry keeps
    its time, for others to follow.
    """
    kind = entry["op"]
    if kind == "n" or any(is_ours(each["ns"]) for each in operations(entry)) or is_control(entry):
        return bytes(entry.raw)
    kept = {name: entry[name] for name in ("ts", "t", "v", "wall") if name in entry}
    return bson.encode({**kept, "op": "n", "ns": "", "o": {"msg": "left out of the backup"}})


def is_control(entry: Entry) -> bool:
    """Tell whether an entry ends a transaction that others began."""
    return entry["op"] == "c" and any(
        name in entry["o"] for name in ("commitTransaction", "abortTransaction")
    )
