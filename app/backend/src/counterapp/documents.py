"""Counters as MongoDB documents, and the updates that change them. No connection, only data.

One document a counter, so that everything about it changes in one commit:

- ``_id``: namespace and name, ``default/shared``; ``inc``: which of the counters that ever had this
  name it is; ``created``, ``updated``, ``expires``; ``admin``: the SHA-256 of its admin key.
- ``value``, ``step``, ``lower``, ``upper``, ``reset``: see :class:`counterapp.counters.Plan`.
- ``hits``: how often it was hit; ``n``: what these hits added, for each web node.
- ``m``, ``h``, ``d``: the change of the value in each minute, hour and day; ``base``: the value
  before all of ``d``.
- ``by``: what changed the value last, the node first if it was by hits. Never the same twice, so
  that each change is told with it.
- ``w``: for each process that writes, the last batch of hits that it added: its number ``i``, the
  value ``v`` and the outcome ``r``, and the minute ``t``. A batch is sent again when nobody can say
  whether it was written; this is how it is known for certain, and counted once.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from counterapp.counters import LARGEST, Counter, Key, Plan
from counterapp.history import KEPT, Resolution, bucket

Document = dict[str, Any]
Stages = list[Document]

DONE, GO, OVER = "done", "go", "over"
"""What became of a batch: written before, written now, or refused: the value would be too large."""

SLOT_MINUTES = 60
"""How long the last batch of a process is remembered: far longer than any batch is retried."""

# What anybody may do to a counter that a hit has made: what CountAPI allowed there.
_MADE_BY_A_HIT: Document = {"step": 1, "lower": -1, "upper": 1, "reset": False, "admin": None}
_HISTORY: dict[str, Resolution] = {"m": "minute", "h": "hour", "d": "day"}
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


def key_of(identity: str) -> Key:
    """Return the key of a document by its ``_id``."""
    namespace, _, name = identity.partition("/")
    return Key(namespace, name)


def new(
    key: Key, plan: Plan, admin: str | None, at: datetime, expires: datetime | None
) -> Document:
    """Return the document of a counter that is made on purpose."""
    return {
        "_id": str(key),
        "inc": ObjectId(),
        "value": plan.value,
        "base": plan.value,
        "hits": 0,
        "step": plan.step,
        "lower": plan.lower,
        "upper": plan.upper,
        "reset": plan.resettable,
        "admin": admin,
        "created": at,
        "updated": at,
        "expires": expires,
    }


def counter(document: Mapping[str, Any]) -> Counter:
    """Return the counter that a document holds."""
    return Counter(
        key=key_of(document["_id"]),
        value=int(document["value"]),
        plan=Plan(
            value=int(document["base"]),
            step=int(document["step"]),
            lower=document["lower"],
            upper=document["upper"],
            resettable=document["reset"],
        ),
        owned=document["admin"] is not None,
        created=document["created"],
        updated=document["updated"],
        expires=document["expires"],
        nodes={_node(name): int(amount) for name, amount in document.get("n", {}).items()},
        base=int(document["base"]),
        minutes=_buckets(document, "m"),
        hours=_buckets(document, "h"),
        days=_buckets(document, "d"),
    )


def hits(number: int, batch: int, *, slot: str, node: str, at: datetime) -> Stages:
    """Return the update that adds ``number`` hits, makes the counter if need be, and tells of it.

    Written twice, it adds once: under ``w.<slot>`` stands the last batch of this process. Batches
    of one slot must have growing numbers and not overlap. What the history need not keep any more
    is dropped.
    """
    written = f"$w.{slot}"
    last = {"$ifNull": [f"{written}.i", -1]}
    do = {"$cond": [{"$gte": [last, batch]}, DONE, GO]}
    expired = {"$lte": [{"$ifNull": ["$expires", _NEVER]}, "$$NOW"]}
    fresh = {"$and": [{"$eq": ["$_do", GO]}, expired]}
    fallen = {"$cond": [fresh, {"_id": "$_id", "_do": GO}, "$$ROOT"]}
    # Not $ifNull: a counter that was made without a bound has null there, and keeps it.
    there = {
        name: {"$cond": [{"$eq": [{"$type": f"${name}"}, "missing"]}, value, f"${name}"]}
        for name, value in _MADE_BY_A_HIT.items()
    }
    there |= {name: {"$ifNull": [f"${name}", 0]} for name in ("value", "base", "hits")}
    there |= {name: {"$ifNull": [f"${name}", "$$NOW"]} for name in ("created", "updated")}
    there |= {
        "inc": {"$ifNull": ["$inc", ObjectId()]},
        "expires": {"$ifNull": ["$expires", None]},
    }
    total = {"$add": ["$value", "$_add"]}
    too_far = {"$and": [{"$eq": ["$_do", GO]}, {"$gt": [{"$abs": total}, LARGEST]}]}
    added = {"hits": _if_go({"$add": ["$hits", number]}, "$hits")}
    added["by"] = _if_go(f"{node} {slot} {batch}", "$by")
    share = f"n.{field(node)}"
    added[share] = _if_go(_plus(share), f"${share}")
    # A counter that cannot be hit any more still says so to the process that tried.
    report = {
        "i": batch,
        "v": {"$cond": [{"$eq": ["$_do", GO]}, total, "$value"]},
        "r": "$_do",
        "t": bucket(at, "minute"),
    }
    added[f"w.{slot}"] = {"$cond": [{"$eq": ["$_do", DONE]}, written, report]}
    return [
        {"$set": {"_do": do}},
        {"$replaceWith": fallen},
        {"$set": there},
        {"$set": {"_add": {"$multiply": ["$step", number]}}},
        {"$set": {"_do": {"$cond": [too_far, OVER, "$_do"]}}},
        {"$set": _changed(at) | added},
        *_pruned(at),
        {"$unset": ["_do", "_add"]},
    ]


def more_hits(
    number: int, batch: int, step: int, *, slot: str, node: str, at: datetime
) -> tuple[Document, Stages]:
    """Return the filter and the update that do what :func:`hits` does, for the usual case.

    That is a counter of this step, without an end, which this slot has hit within the hour, and
    with room for more. To others the filter does not apply; for them there is :func:`hits`. It
    costs the server less than half of that.
    """
    usual, changed = _usual(number, step, node, at)
    usual[f"w.{slot}.i"] = {"$lt": batch}
    changed["by"] = f"{node} {slot} {batch}"
    changed[f"w.{slot}"] = {
        "i": batch,
        "v": changed["value"],
        "r": GO,
        "t": bucket(at, "minute"),
    }
    return usual, [{"$set": changed}]


def one_hit(step: int, *, node: str, at: datetime) -> tuple[Document, Stages]:
    """Return the same for a hit in a write of its own, which is never sent twice."""
    usual, changed = _usual(1, step, node, at)
    changed["by"] = f"{node} {ObjectId()}"
    return usual, [{"$set": changed}]


def _usual(number: int, step: int, node: str, at: datetime) -> tuple[Document, Document]:
    """Return when, and how, hits change a counter that has its usual state."""
    add = number * step
    usual = {
        "step": step,
        "expires": None,
        "value": {"$gte": -LARGEST - min(add, 0), "$lte": LARGEST - max(add, 0)},
    }
    changed: Document = {
        "value": {"$add": ["$value", add]},
        "hits": {"$add": ["$hits", number]},
        "updated": "$$NOW",
    }
    shares = [f"{letter}.{bucket(at, resolution)}" for letter, resolution in _HISTORY.items()]
    for share in [*shares, f"n.{field(node)}"]:
        changed[share] = {"$add": [{"$ifNull": [f"${share}", 0]}, add]}
    return usual, changed


def change(amount: int | None, value: int | None, at: datetime) -> Stages:
    """Return the update that adds ``amount``, or sets ``value``, with its trace in the history."""
    added = {"$subtract": [value, "$value"]} if value is not None else amount
    return [
        {"$set": {"_do": GO, "_add": added, "by": f" {ObjectId()}"}},
        {"$set": _changed(at)},
        *_pruned(at),
        {"$unset": ["_do", "_add"]},
    ]


def field(node: str) -> str:
    """Return a node's name as the name of a field."""
    # A dot would make MongoDB nest; node names cannot have a '%' of their own.
    return node.replace(".", "%2E")


def _node(name: str) -> str:
    return name.replace("%2E", ".")


def _changed(at: datetime) -> Document:
    """Return how the value and its history take up ``_add``, unless it was refused."""
    names = ["value"]
    for letter, resolution in _HISTORY.items():
        names.append(f"{letter}.{bucket(at, resolution)}")
    changed = {name: _if_go(_plus(name), f"${name}") for name in names}
    return changed | {"updated": _if_go("$$NOW", "$updated")}


def _plus(name: str) -> Document:
    return {"$add": [{"$ifNull": [f"${name}", 0]}, "$_add"]}


def _if_go(then: Any, otherwise: Any) -> Document:
    return {"$cond": [{"$eq": ["$_do", GO]}, then, otherwise]}


def _pruned(at: datetime) -> Stages:
    """Return the stages that drop old buckets; what old days have added goes into ``base``."""
    oldest = {
        letter: bucket(at, resolution) - KEPT[resolution] for letter, resolution in _HISTORY.items()
    }
    # Bucket numbers are compared as text: they keep their number of digits until the year 2084.
    young: dict[str, Document] = {
        name: {"$gte": ["$$this.k", str(least)]} for name, least in oldest.items()
    }
    young["w"] = {"$gte": ["$$this.v.t", bucket(at, "minute") - SLOT_MINUTES]}
    old_days = _entries("d", {"$not": young["d"]})
    settled = {"$sum": {"$map": {"input": old_days, "in": "$$this.v"}}}
    kept = {name: {"$arrayToObject": _entries(name, test)} for name, test in young.items()}
    return [{"$set": {"base": {"$add": ["$base", settled]}, **kept}}]


def _entries(name: str, test: Document) -> Document:
    entries = {"$objectToArray": {"$ifNull": [f"${name}", {}]}}
    return {"$filter": {"input": entries, "cond": test}}


def _buckets(document: Mapping[str, Any], name: str) -> dict[int, int]:
    return {int(number): int(amount) for number, amount in document.get(name, {}).items()}
