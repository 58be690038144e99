"""The updates that change counters: pipelines that the server runs on a document as it finds it.

What time it is, how much room a counter has, whether a batch was written before: all of that the
server decides, in the one commit in which it writes. ``documents`` says what the fields are.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from bson import ObjectId

from counterapp.counters import LARGEST, Plan
from counterapp.documents import Document, Stages, field
from counterapp.history import KEPT, SECONDS, Resolution, bucket

SLOT_MINUTES = 60
"""How long the last batch of a process is remembered: far longer than any batch is retried."""

DAY = 24 * 3600 * 1000
"""Milliseconds."""

IDLE_SLACK = DAY
"""Milliseconds by which a counter may outlive the time for which nobody hit it: its end is put off
twice a day, not with each hit."""

_ADDED: dict[str, Resolution] = {"m": "minute", "h": "hour", "d": "day"}
_SET: dict[str, Resolution] = {"M": "minute", "H": "hour", "D": "day"}

_NEVER = datetime(9999, 1, 1, tzinfo=UTC)

# What anybody may do to a counter that a hit has made: what CountAPI allowed there.
_MADE_BY_A_HIT = Plan(step=1, lower=-1, upper=1, resettable=False)


class Batch(NamedTuple):
    """A batch of hits of one process."""

    number: int
    """Larger than that of the batch before in this slot; batches of one slot do not overlap."""
    slot: str
    node: str
    lifetime: int
    """Milliseconds for which a counter that nobody owns is kept without a hit."""


def hits(count: int, batch: Batch) -> Stages:
    """Return the update that adds ``count`` hits, makes the counter if need be, and tells of it.

    As many as there is room for are added. Written twice, it adds once: under ``w.<slot>`` stands
    the last batch of this process. What the history need not keep any more is dropped.
    """
    written = f"$w.{batch.slot}"
    share = f"n.{field(batch.node)}"
    done = {"$gte": [{"$ifNull": [f"{written}.i", -1]}, batch.number]}
    fresh = {"$and": [{"$not": "$_done"}, _ended("expires", "idle")]}
    # A number that stands for none leaves all as it is: the batch was written before.
    fit = {"$cond": ["$_done", 0, _room(count, ["$value", *_now_in(_ADDED), _number(f"${share}")])]}
    report = {
        "i": batch.number,
        "v": {"$add": ["$value", "$_add"]},
        "c": "$_fit",
        "n": "$_new",
        "at": "$$NOW",
        "t": _bucket("minute"),
    }
    put_off = {"$add": ["$$NOW", batch.lifetime + IDLE_SLACK]}
    soon = {
        "$lt": [{"$ifNull": ["$idle", "$$NOW"]}, {"$add": ["$$NOW", batch.lifetime + DAY // 2]}]
    }
    unowned = {"$eq": ["$admin", None]}
    went = {"$gt": ["$_fit", 0]}
    return [
        {"$set": {"_done": done}},
        {"$replaceWith": {"$cond": [fresh, {"_id": "$_id", "_done": False}, "$$ROOT"]}},
        {"$set": {"_new": {"$eq": [{"$type": "$inc"}, "missing"]}}},
        {
            "$replaceWith": {
                "$cond": [
                    "$_new",
                    {"$mergeObjects": [_made(_MADE_BY_A_HIT, None, ObjectId()), "$$ROOT"]},
                    "$$ROOT",
                ]
            }
        },
        {"$set": {"_fit": fit}},
        {"$set": {"_add": {"$multiply": ["$step", "$_fit"]}}},
        {
            "$set": {
                **_added("$_add"),
                share: {"$cond": [went, {"$add": [_number(f"${share}"), "$_add"]}, f"${share}"]},
                "hits": {"$add": ["$hits", "$_fit"]},
                "updated": {"$cond": [went, "$$NOW", "$updated"]},
                "by": {"$cond": [went, f"{batch.node} {batch.slot} {batch.number}", "$by"]},
                f"w.{batch.slot}": {"$cond": ["$_done", written, report]},
                "idle": {"$cond": [{"$and": [unowned, soon]}, put_off, "$idle"]},
            }
        },
        *_pruned(),
        {"$unset": ["_done", "_new", "_fit", "_add"]},
    ]


def more_hits(count: int, batch: Batch, step: int, now: datetime) -> tuple[Document, Stages]:
    """Return the filter and the update that do what :func:`hits` does, for the usual case.

    That is a counter of this step, without an end, which this slot has hit within the hour, and
    with room for all, at a moment of the minute of ``now``. To others the filter does not apply;
    for them there is :func:`hits`. It costs the server less than half of that.

    :param now: the time of the database, as far as it is known.
    """
    usual, changed = _usual(count, step, batch.node, now)
    usual[f"w.{batch.slot}.i"] = {"$lt": batch.number}
    changed["by"] = f"{batch.node} {batch.slot} {batch.number}"
    changed[f"w.{batch.slot}"] = {
        "i": batch.number,
        "v": changed["value"],
        "c": count,
        "n": False,
        "at": "$$NOW",
        "t": bucket(now, "minute"),
    }
    return usual, [{"$set": changed}]


def one_hit(step: int, node: str, now: datetime) -> tuple[Document, Stages]:
    """Return the same for a hit in a write of its own, which is never sent twice."""
    usual, changed = _usual(1, step, node, now)
    changed["by"] = f"{node} {ObjectId()}"
    return usual, [{"$set": changed}]


def _usual(count: int, step: int, node: str, now: datetime) -> tuple[Document, Document]:
    """Return when, and how, hits change a counter that has its usual state."""
    add = count * step
    shares = [f"{letter}.{bucket(now, resolution)}" for letter, resolution in _ADDED.items()]
    shares.append(f"n.{field(node)}")
    beyond = {"$gt": LARGEST - add} if add > 0 else {"$lt": -LARGEST - add}
    usual: Document = {
        "step": step,
        "expires": None,
        "value": {"$not": beyond},
        **{share: {"$not": beyond} for share in shares},
        # The one condition that takes nothing from the document: the server works it out once.
        "$expr": {"$eq": [_bucket("minute"), bucket(now, "minute")]},
    }
    changed: Document = {
        "value": {"$add": ["$value", add]},
        "hits": {"$add": ["$hits", count]},
        "updated": "$$NOW",
        **{share: {"$add": [_number(f"${share}"), add]} for share in shares},
    }
    return usual, changed


def add(amount: int, token: ObjectId) -> Stages:
    """Return the update that adds ``amount`` if there is room; then ``by`` has the token."""
    return [
        {"$set": {"_fit": _room(1, ["$value", *_now_in(_ADDED)], amount)}},
        {"$set": {"_add": {"$multiply": [amount, "$_fit"]}}},
        {
            "$set": {
                **_added("$_add"),
                "updated": {"$cond": ["$_fit", "$$NOW", "$updated"]},
                "by": {"$cond": ["$_fit", changed_by(token), "$by"]},
            }
        },
        *_pruned(),
        {"$unset": ["_fit", "_add"]},
    ]


def put(value: int, token: ObjectId) -> Stages:
    """Return the update that sets the value, which is no hit."""
    return [
        {"$set": {"_add": {"$subtract": [value, "$value"]}}},
        {"$set": {**_moved("$_add"), "updated": "$$NOW", "by": changed_by(token)}},
        *_pruned(),
        {"$unset": ["_add"]},
    ]


def create(plan: Plan, admin: str | None, inc: ObjectId, idle: int | None) -> Stages:
    """Return the update that makes a counter with this ``inc`` where there is none.

    :param idle: milliseconds for which it is kept without a hit, if nobody owns it.
    """
    there = {"$and": [{"$ne": [{"$type": "$inc"}, "missing"]}, {"$not": _ended("expires", "idle")}]}
    made = _made(plan, admin, inc)
    if admin is None and idle is not None:
        made["idle"] = {"$add": ["$$NOW", idle + IDLE_SLACK]}
    new = {"$mergeObjects": [made, {"_id": "$_id"}]}
    return [{"$replaceWith": {"$cond": [there, "$$ROOT", new]}}]


def take(value: int, admin: str, slot: str, inc: ObjectId, replace: bool) -> Stages:
    """Return the update that imports a count: a new counter, or the value of one's own.

    :param slot: stands in ``w`` of what was taken; one for each import.
    """
    least = {"$ifNull": ["$lower", -2 * LARGEST]}
    most = {"$ifNull": ["$upper", 2 * LARGEST]}
    may = {
        "$and": [
            replace,
            {"$eq": ["$admin", admin]},
            "$reset",
            {"$gte": ["$_add", least]},
            {"$lte": ["$_add", most]},
        ]
    }
    return [
        {"$set": {"_was": "$$ROOT"}},
        *create(Plan(value=value), admin, inc, None),
        {"$set": {"_add": {"$subtract": [value, "$value"]}}},
        {"$set": {"_may": {"$or": [{"$eq": ["$inc", inc]}, may]}}},
        {
            "$set": {
                **_moved("$_add"),
                "updated": "$$NOW",
                "by": changed_by(inc),
                f"w.{slot}": {
                    "i": 0,
                    "n": {"$eq": ["$inc", inc]},
                    "t": _bucket("minute"),
                },
            }
        },
        *_pruned(),
        # What was not to be taken is left as it was found.
        {"$replaceWith": {"$cond": ["$_may", "$$ROOT", "$_was"]}},
        {"$unset": ["_was", "_add", "_may"]},
    ]


def changed_by(token: ObjectId) -> str:
    """Return the ``by`` of a change that is no hit."""
    return f" {token}"


def _made(plan: Plan, admin: str | None, inc: ObjectId) -> Document:
    """Return the document of a new counter, but for its ``_id``."""
    lifetime = plan.lifetime
    return {
        "inc": inc,
        "value": plan.value,
        "base": plan.value,
        "hits": 0,
        "step": plan.step,
        "lower": plan.lower,
        "upper": plan.upper,
        "reset": plan.resettable,
        "admin": admin,
        "created": "$$NOW",
        "updated": "$$NOW",
        "expires": None if lifetime is None else {"$add": ["$$NOW", lifetime * 1000]},
        "by": changed_by(inc),
    }


def _ended(*names: str) -> Document:
    """Return whether one of these moments of a counter has come."""
    return {"$or": [{"$lte": [{"$ifNull": [f"${name}", _NEVER]}, "$$NOW"]} for name in names]}


def _bucket(resolution: Resolution) -> Document:
    """Return the bucket of the database's present."""
    milliseconds = SECONDS[resolution] * 1000
    return {"$toLong": {"$floor": {"$divide": [{"$toLong": "$$NOW"}, milliseconds]}}}


def _number(name: str) -> Document:
    return {"$ifNull": [name, 0]}


def _current(letter: str, resolution: Resolution) -> Document:
    """Return what the present bucket of a history has."""
    found = _entries(letter, {"$eq": ["$$this.k", {"$toString": _bucket(resolution)}]})
    return {"$sum": {"$map": {"input": found, "in": "$$this.v"}}}


def _now_in(histories: dict[str, Resolution]) -> list[Document]:
    return [_current(letter, resolution) for letter, resolution in histories.items()]


def _room(count: int, numbers: list[Any], step: Any = "$step") -> Document:
    """Return how many of ``count`` steps fit, so that no number leaves ±``LARGEST``."""
    left = {
        "$cond": [
            {"$gt": [step, 0]},
            {"$subtract": [LARGEST, {"$max": numbers}]},
            {"$add": [LARGEST, {"$min": numbers}]},
        ]
    }
    # The remainder first, for a quotient of doubles could be rounded up.
    whole = {
        "$let": {
            "vars": {"left": left, "size": {"$max": [{"$abs": step}, 1]}},
            "in": {
                "$divide": [
                    {"$subtract": ["$$left", {"$mod": ["$$left", "$$size"]}]},
                    "$$size",
                ]
            },
        }
    }
    return {"$toLong": {"$max": [0, {"$min": [count, whole]}]}}


def _added(amount: str) -> Document:
    """Return how the value and its history take up what hits or an update add."""
    return {"value": {"$add": ["$value", amount]}, **_raised(_ADDED, amount)}


def _moved(amount: str) -> Document:
    """Return the same for what a set adds."""
    return {"value": {"$add": ["$value", amount]}, **_raised(_SET, amount)}


def _raised(histories: dict[str, Resolution], amount: str) -> Document:
    raised = {}
    for letter, resolution in histories.items():
        entry = {
            "k": {"$toString": _bucket(resolution)},
            "v": {"$add": [_current(letter, resolution), amount]},
        }
        merged = {"$mergeObjects": [f"${letter}", {"$arrayToObject": [[entry]]}]}
        raised[letter] = {"$cond": [{"$eq": [amount, 0]}, f"${letter}", merged]}
    return raised


def _pruned() -> Stages:
    """Return the stages that drop old buckets; what old days have added goes into ``base``."""
    kept: Document = {}
    settled = []
    for letter, resolution in {**_ADDED, **_SET}.items():
        # Compared as text: buckets keep their number of digits until the year 2084.
        least = {"$toString": {"$subtract": [_bucket(resolution), KEPT[resolution]]}}
        young = {"$gte": ["$$this.k", least]}
        kept[letter] = _kept(letter, young)
        if resolution == "day":
            old = _entries(letter, {"$not": young})
            settled.append({"$sum": {"$map": {"input": old, "in": "$$this.v"}}})
    recent = {"$gte": ["$$this.v.t", {"$subtract": [_bucket("minute"), SLOT_MINUTES]}]}
    kept["w"] = _kept("w", recent)
    return [{"$set": {"base": {"$add": ["$base", *settled]}, **kept}}]


def _kept(name: str, test: Document) -> Document:
    # What a counter never had it need not get.
    there = {"$ne": [{"$type": f"${name}"}, "missing"]}
    return {"$cond": [there, {"$arrayToObject": _entries(name, test)}, "$$REMOVE"]}


def _entries(name: str, test: Document) -> Document:
    entries = {"$objectToArray": {"$ifNull": [f"${name}", {}]}}
    return {"$filter": {"input": entries, "cond": test}}
