"""
The timeline of a replica set, and the mark of a restore.

A restore turns a set's history off: what the oplog says from then on does not follow what it said
before. So the history until a restore has one name, its timeline, and what comes after has another.
A document in ``admin.mongodb_backup`` says which one the set is on, and that a restore is under way
or was left half-done. It is in no backup. Its changes stand in the oplog as well, so that whoever
reads that knows to the entry where a timeline ends and where the next one begins.

Without a document the timeline has the name of the set's own ``replicaSetId``.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

try:
    import pymongo
    from bson import ObjectId, Timestamp
    from pymongo.errors import OperationFailure
    from pymongo.read_concern import ReadConcern
    from pymongo.write_concern import WriteConcern

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

Entry = Mapping[str, Any]
DATABASE = "admin"
COLLECTION = "mongodb_backup"
NAMESPACE = f"{DATABASE}.{COLLECTION}"
ID = "timeline"
# NoReplicationEnabled, NotYetInitialized.
NO_SET = frozenset({76, 94})


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


# Reading


def read(client: pymongo.MongoClient[Any]) -> dict[str, Any]:
    """Return on which timeline a set is, as a majority has it.

    Keys: ``timeline`` (None of a server without a set); ``restoring``: None, or a dict of
    ``backup``, ``target`` and ``since`` of a restore that has not ended; ``restored``: None, or
    one of ``backup``, ``to`` and ``at`` of the restore that began the timeline; ``after``:
    operation time before the document was written, or None.
    """
    told = told_by(_document(client))
    return {**told, "timeline": told["timeline"] or _first(client)}


def told_by(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a document says, as :func:`read` does; ``timeline`` is None of the first one."""
    return {
        "timeline": document.get("timeline"),
        "restoring": _plain(document.get("restoring")),
        "restored": _plain(document.get("restored")),
        "after": document.get("after"),
    }


def namespace() -> str:
    """Return the namespace of the document."""
    return NAMESPACE


def refusal(state: Mapping[str, Any]) -> str | None:
    """Return why nothing may be kept of a set in a state, or None when it may."""
    restoring = state["restoring"]
    if not restoring:
        return None
    return (
        f"the set is half restored: the restore of {restoring.get('backup')} that began at"
        f" {restoring.get('since')} has not ended; wait for it, or restore again with drop=True"
    )


def of_entry(entry: Entry, operations: Callable[[Entry], Iterable[Entry]]) -> dict[str, Any] | None:
    """Return what an oplog entry makes of the document, as :func:`told_by` does.

    It is None of an entry that leaves it alone, and empty where the entry does not tell: somebody
    has changed or removed the document by hand, and it has to be read.

    :param operations: ``mongodb_oplog.operations``.
    """
    if DATABASE not in str(entry["ns"]):
        return None
    for operation in operations(entry):
        namespace, kind, content = str(operation["ns"]), operation["op"], operation["o"]
        if namespace == NAMESPACE:
            whole = kind in ("i", "u") and content.get("_id") == ID
            return told_by(content) if whole else {}
        dropped = kind == "c" and namespace.startswith(f"{DATABASE}.")
        if dropped and (content.get("drop") == COLLECTION or "dropDatabase" in content):
            return {}
    return None


def _document(client: pymongo.MongoClient[Any]) -> dict[str, Any]:
    collection = client[DATABASE].get_collection(COLLECTION, read_concern=ReadConcern("majority"))
    return collection.find_one({"_id": ID}) or {}


def _first(client: pymongo.MongoClient[Any]) -> str | None:
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as err:
        if err.code in NO_SET:
            return None
        raise
    return str(config["settings"]["replicaSetId"])


def _plain(value: Any) -> dict[str, Any] | None:
    """Return a part of the document as it stands in returns."""
    if not value:
        return None
    return {
        str(key): _text(item) if isinstance(item, datetime.datetime) else item
        for key, item in value.items()
    }


def _text(when: datetime.datetime) -> str:
    aware = when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
    return aware.isoformat(timespec="seconds")


# Writing, on the primary


def begin(client: pymongo.MongoClient[Any], backup: str, target: str | None) -> None:
    """Say that a restore begins, before it touches anything."""
    known = _document(client)
    restoring = {"backup": backup, "target": target, "since": _now()}
    _put(client, {**known, "restoring": restoring})


def finish(client: pymongo.MongoClient[Any], backup: str, to: str) -> str:
    """Say that a restore has ended, and begin a timeline; return its name.

    :param to: operation time of the last entry that was replayed, on the backup's own timeline.
    """
    timeline = str(ObjectId())
    restored = {"backup": backup, "to": to, "at": _now()}
    _put(client, {"timeline": timeline, "restoring": None, "restored": restored})
    return timeline


def _put(client: pymongo.MongoClient[Any], document: Mapping[str, Any]) -> None:
    """Replace the whole document, so that the oplog has it whole."""
    last = client.admin.command("hello").get("lastWrite") or {}
    after: Timestamp | None = (last.get("opTime") or {}).get("ts")
    collection = client[DATABASE].get_collection(
        COLLECTION, write_concern=WriteConcern("majority", wtimeout=60_000)
    )
    collection.replace_one({"_id": ID}, {**document, "_id": ID, "after": after}, upsert=True)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
