"""The updates that change counters: pipelines that the server runs on a document as it finds it.

What time it is, how much room a counter has, whether a batch was written before: all of that the
server decides, in the one commit in which it writes. ``documents`` says what the fields are.
"""

from collections.abc import Mapping
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
_HISTORIES = _ADDED | _SET

_NEVER = datetime(9999, 1, 1, tzinfo=UTC)

# What anybody may do to a counter that a hit has made: what CountAPI allowed there.
_MADE_BY_A_HIT = Plan(step=1, lower=0, upper=1, resettable=False)


class Batch(NamedTuple):
    """A batch of hits of one process."""

    number: int
    """Larger than that of the batch before in this slot; batches of one slot do not overlap."""
    slot: str
    node: str
    lifetime: int
    """Milliseconds for which a counter that nobody owns is kept unchanged."""


def hits(count: int, batch: Batch) -> Stages:
    """Return the update that adds ``count`` hits to a counter that is there, and tells of it.

    As many as there is room for are added. Written twice, it adds once: under ``w.<slot>`` stands
    the last batch of this process. What the history need not keep any more is dropped.
    """
    written = f"$w.{batch.slot}"
    share = f"n.{field(batch.node)}"
    done = {"$gte": [{"$ifNull": [f"{written}.i", -1]}, batch.number]}
    # Nothing fits of what was written before.
    fit = {"$cond": [done, 0, _room(count, ["$value", *_shares(), _number(f"${share}")])]}
    total = {"$add": ["$value", "$_add"]}
    put_off = _end(batch.lifetime)
    half = _end(batch.lifetime, IDLE_SLACK // 2)
    soon = {"$lt": [{"$ifNull": ["$idle", "$$NOW"]}, half]}
    went = {"$gt": ["$_fit", 0]}
    return [
        {"$set": {"_now": _present()}},
        {"$set": {"_fit": fit}},
        {"$set": {"_add": {"$multiply": ["$step", "$_fit"]}}},
        {
            "$set": {
                "value": total,
                **_history(added="$_add"),
                share: {"$cond": [went, {"$add": [_number(f"${share}"), "$_add"]}, f"${share}"]},
                "hits": {"$add": ["$hits", "$_fit"]},
                "updated": {"$cond": [went, "$$NOW", "$updated"]},
                "by": {"$cond": [went, _by(batch), "$by"]},
                "w": {
                    "$mergeObjects": [
                        _slots(),
                        {batch.slot: {"$cond": [done, written, _report(batch, total, "$_fit")]}},
                    ]
                },
                "idle": {"$cond": [{"$and": [{"$eq": ["$admin", None]}, soon]}, put_off, "$idle"]},
            }
        },
        {"$unset": ["_now", "_fit", "_add"]},
    ]


def first_hits(count: int, batch: Batch) -> Stages:
    """Return the update that makes a counter with ``count`` hits, and tells of it.

    One that is there already, made by whomever and perhaps by this very batch, is left as it is.
    """
    made = _made(_MADE_BY_A_HIT, None, ObjectId()) | {
        "value": count,
        "hits": count,
        "by": _by(batch),
        "n": {field(batch.node): count},
        "w": {batch.slot: _report(batch, count, count, made=True)},
        "idle": _end(batch.lifetime),
    }
    for letter, resolution in _ADDED.items():
        entry = {"k": {"$toString": _bucket(resolution)}, "v": count}
        made[letter] = {"$arrayToObject": [[entry]]}
    return _unless_there(made)


def more_hits(count: int, batch: Batch, step: int, now: datetime) -> tuple[Document, Stages]:
    """Return the filter and the update that do what :func:`hits` does, for the usual case.

    That is a counter of this step, without an end, which this slot has hit within the hour, and
    with room for all, at a moment of the minute of ``now``. To others the filter does not apply;
    for them there is :func:`hits`. It costs the server less than half of that.

    :param now: the time of the database, as far as it is known.
    """
    usual, changed = _usual(count, step, batch.node, now)
    usual[f"w.{batch.slot}.i"] = {"$lt": batch.number}
    changed["by"] = _by(batch)
    changed[f"w.{batch.slot}"] = _report(batch, changed["value"], count)
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


def add(amount: int, token: ObjectId, lifetime: int) -> Stages:
    """Return the update that adds ``amount`` if there is room; then ``by`` has the token.

    :param lifetime: milliseconds for which a counter that nobody owns is kept from now on.
    """
    return [
        {"$set": {"_now": _present()}},
        {"$set": {"_fit": _room(1, ["$value", *_shares()], amount)}},
        {"$set": {"_add": {"$multiply": [amount, "$_fit"]}}},
        {
            "$set": {
                "value": {"$add": ["$value", "$_add"]},
                **_history(added="$_add"),
                "updated": {"$cond": ["$_fit", "$$NOW", "$updated"]},
                "by": {"$cond": ["$_fit", changed_by(token), "$by"]},
                **_put_off(lifetime),
            }
        },
        {"$unset": ["_now", "_fit", "_add"]},
    ]


def put(value: int, token: ObjectId, lifetime: int) -> Stages:
    """Return the update that sets the value, which is no hit.

    :param lifetime: milliseconds for which a counter that nobody owns is kept from now on.
    """
    changed = _put(value, token, **_put_off(lifetime))
    return [{"$set": {"_now": _present()}}, *changed, {"$unset": ["_now"]}]


def _put(value: Any, token: ObjectId, **more: Any) -> Stages:
    moved = {"$subtract": [value, "$value"]}
    return [
        {
            "$set": {
                "value": value,
                **_history(moved=moved),
                "updated": "$$NOW",
                "by": changed_by(token),
                **more,
            }
        }
    ]


def create(plan: Plan, admin: str | None, inc: ObjectId, lifetime: int) -> Stages:
    """Return the update that makes a counter with this ``inc`` where there is none.

    :param lifetime: milliseconds for which it is kept unchanged, if nobody owns it.
    """
    made = _made(plan, admin, inc)
    if admin is None:
        made["idle"] = _end(lifetime)
    return _unless_there(made)


def first_import(value: int, admin: str, slot: str, inc: ObjectId) -> Stages:
    """Return the update that makes a counter with an imported value where there is none.

    :param slot: stands in ``w`` of what was taken; one for each import.
    """
    made = _made(Plan(value=value), admin, inc)
    return _unless_there(made | {"w": {slot: {"i": 0, "n": True, "t": _bucket("minute")}}})


def more_imports(values: Mapping[str, int], slot: str, token: ObjectId) -> Stages:
    """Return the update that sets each counter to its imported value, if its bounds allow that.

    :param values: by the counters' ``_id``; each is looked for in all of them.
    """
    place = {"$indexOfArray": [{"$literal": list(values)}, "$_id"]}
    value = {"$arrayElemAt": [{"$literal": list(values.values())}, place]}
    difference = {"$subtract": ["$_value", "$value"]}
    within = {
        "$and": [
            {"$gte": [difference, {"$ifNull": ["$lower", -2 * LARGEST]}]},
            {"$lte": [difference, {"$ifNull": ["$upper", 2 * LARGEST]}]},
        ]
    }
    report = {slot: {"i": 0, "n": False, "t": _bucket("minute")}}
    return [
        {"$set": {"_was": "$$ROOT", "_value": value}},
        {"$set": {"_may": within, "_now": _present()}},
        *_put("$_value", token, w={"$mergeObjects": [_slots(), report]}),
        # What was not to be taken is left as it was found.
        {"$replaceWith": {"$cond": ["$_may", "$$ROOT", "$_was"]}},
        {"$unset": ["_was", "_value", "_may", "_now"]},
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


def _unless_there(made: Document) -> Stages:
    """Return the update that makes a counter where there is none, or one whose end has come."""
    ended = [{"$lte": [{"$ifNull": [f"${name}", _NEVER]}, "$$NOW"]} for name in ("expires", "idle")]
    free = {"$or": [{"$eq": [{"$type": "$inc"}, "missing"]}, *ended]}
    return [{"$replaceWith": {"$cond": [free, {"_id": "$_id", **made}, "$$ROOT"]}}]


def _end(lifetime: int, slack: int = IDLE_SLACK) -> Document:
    """Return when a counter that nobody owns ends, if nothing changes it until then."""
    return {"$add": ["$$NOW", lifetime + slack]}


def _put_off(lifetime: int) -> Document:
    return {"idle": {"$cond": [{"$eq": ["$admin", None]}, _end(lifetime), "$idle"]}}


def _by(batch: Batch) -> str:
    return f"{batch.node} {batch.slot} {batch.number}"


def _report(batch: Batch, value: Any, counted: Any, made: bool = False) -> Document:
    """Return what a batch leaves in a counter."""
    said = {"i": batch.number, "v": value, "c": counted, "n": made}
    return said | {"at": "$$NOW", "t": _bucket("minute")}


def _number(name: str) -> Document:
    return {"$ifNull": [name, 0]}


def _bucket(resolution: Resolution) -> Document:
    """Return the bucket of the database's present."""
    milliseconds = SECONDS[resolution] * 1000
    return {"$toLong": {"$floor": {"$divide": [{"$toLong": "$$NOW"}, milliseconds]}}}


def _present() -> Document:
    """Return what the present buckets of each history have, for ``_now``."""
    found = {}
    for letter, resolution in _HISTORIES.items():
        this = {"$eq": ["$$this.k", {"$toString": _bucket(resolution)}]}
        found[letter] = _sum(_entries(letter, this))
    return found


def _shares() -> list[str]:
    return [f"$_now.{letter}" for letter in _ADDED]


def _room(count: int, numbers: list[Any], step: Any = "$step") -> Document:
    """Return how many of ``count`` steps fit, so that no number leaves ±``LARGEST``."""
    if step == 0:
        return {"$toLong": count}
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


def _history(added: Any = 0, moved: Any = 0) -> Document:
    """Return the histories with a change of the present, and without what is too old.

    What old days have added goes into ``base``. ``_now`` has to be there.
    """
    kept: Document = {}
    settled = []
    for letter, resolution in _HISTORIES.items():
        # Compared as text: buckets keep their number of digits until the year 2084.
        present = {"$toString": _bucket(resolution)}
        least = {"$toString": {"$subtract": [_bucket(resolution), KEPT[resolution]]}}
        others = {"$and": [{"$gte": ["$$this.k", least]}, {"$ne": ["$$this.k", present]}]}
        amount = added if letter in _ADDED else moved
        entry = {"k": present, "v": {"$add": [f"$_now.{letter}", amount]}}
        changed = {"$concatArrays": [_entries(letter, others), [entry]]}
        # What a counter never had it need not get.
        never = {"$and": [{"$eq": [amount, 0]}, {"$eq": [{"$type": f"${letter}"}, "missing"]}]}
        kept[letter] = {"$cond": [never, "$$REMOVE", {"$arrayToObject": changed}]}
        if resolution == "day":
            settled.append(_sum(_entries(letter, {"$lt": ["$$this.k", least]})))
    return {**kept, "base": {"$add": ["$base", *settled]}}


def _slots() -> Document:
    """Return the last batches of processes that may still send them again."""
    recent = {"$gte": ["$$this.v.t", {"$subtract": [_bucket("minute"), SLOT_MINUTES]}]}
    return {"$arrayToObject": _entries("w", recent)}


def _sum(entries: Document) -> Document:
    return {"$sum": {"$map": {"input": entries, "in": "$$this.v"}}}


def _entries(name: str, test: Document) -> Document:
    entries = {"$objectToArray": {"$ifNull": [f"${name}", {}]}}
    return {"$filter": {"input": entries, "cond": test}}
