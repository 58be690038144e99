"""Counts from elsewhere, written to the database many at a time."""

from collections.abc import Sequence

from bson import ObjectId
from pymongo import UpdateMany, UpdateOne
from pymongo.collection import Collection

from counterapp import documents, updates
from counterapp.counters import Key, Record, Refusal
from counterapp.documents import Document
from counterapp.room import Room
from counterapp.writer import there

AT_ONCE = 100
"""Counters that one update sets: the server looks for the value of each in those of all."""


def take(
    counters: Collection[Document],
    room: Room,
    records: Sequence[Record],
    replace: bool,
    admin: str,
) -> dict[Key, Refusal | None]:
    """Make counters, or set one's own; return why a record was not taken, or None.

    Two questions and one write, however many they are.

    :param records: each of another counter; none of the service's own.
    """
    values = {record.key: record.value for record in records}
    old = there(counters, values)
    slot, token = f"import:{ObjectId()}", ObjectId()
    writes: list[UpdateOne | UpdateMany] = []
    if room.free() >= len(values) - len(old):
        writes += [
            UpdateOne(
                {"_id": str(key)}, updates.first_import(value, admin, slot, token), upsert=True
            )
            for key, value in values.items()
            if key not in old
        ]
    if replace:
        mine = {"admin": admin, "reset": True, **documents.ALIVE}
        known = sorted(old)
        for start in range(0, len(known), AT_ONCE):
            chosen = {str(key): values[key] for key in known[start : start + AT_ONCE]}
            update = updates.more_imports(chosen, slot, token)
            writes.append(UpdateMany({"_id": {"$in": list(chosen)}, **mine}, update, hint="_id_"))
    if writes:
        counters.bulk_write(writes, ordered=False)
    wanted = {"_id": {"$in": [str(key) for key in values]}}
    shown = {"admin": True, "reset": True, f"w.{slot}": True}
    found = {documents.key_of(each["_id"]): each for each in counters.find(wanted, shown)}
    taken = [each["w"][slot] for each in found.values() if slot in each.get("w", {})]
    room.use(sum(each["n"] for each in taken))
    return {key: _refusal(found.get(key), slot, replace, admin) for key in values}


def _refusal(document: Document | None, slot: str, replace: bool, admin: str) -> Refusal | None:
    """Return why a record was not taken, from what its counter is after the import."""
    if document is None:
        return Refusal.FULL
    if slot in document.get("w", {}):
        return None
    if not replace:
        return Refusal.THERE
    if document["admin"] != admin:
        return Refusal.OTHERS
    return Refusal.BOUNDS if document["reset"] else Refusal.FIXED
