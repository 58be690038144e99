"""Counters as MongoDB documents. No connection, only data; ``updates`` has what changes them.

One document a counter, so that everything about it changes in one commit. Every moment in it is the
database's, which alone decides what is counted when: no web node's clock comes near it.

- ``_id``: namespace and name, ``default/shared``; ``inc``: which of the counters that ever had this
  name it is; ``created``, ``updated``, ``expires``; ``admin``: the SHA-256 of its admin key.
- ``idle``: when a counter that nobody owns ends, if nothing changes it until then.
- ``value``, ``step``, ``lower``, ``upper``, ``reset``: see :class:`counterapp.counters.Plan`.
- ``hits``: how often it was hit; ``n``: what these hits added, for each web node.
- ``m``, ``h``, ``d``: what hits and updates added in each minute, hour and day; ``M``, ``H``,
  ``D``: by how much sets and imports moved the value in them; ``base``: the value before all of
  ``d`` and ``D``.
- ``by``: what changed the value last, the node first if it was by hits. Never the same twice, so
  that each change is told with it.
- ``w``: for each process that writes, the last batch of hits that it added: its number ``i``, the
  value ``v`` after it, how many of its hits were counted ``c``, whether they made the counter
  ``n``, the moment ``at`` and its minute ``t``. A batch is sent again when nobody can say whether
  it was written; this is how it is known for certain, and counted once. An import has one, too.

An idempotency key is a document of another collection: ``_id``, its counter's and its own name;
``inc``, the counter's, with whose life it ends; ``amount`` and ``value``; ``token``, that of the
transaction which counted it; ``expires``.
"""

from collections.abc import Mapping
from typing import Any

from counterapp.counters import Counter, Key, Plan

Document = dict[str, Any]
Stages = list[Document]

_READ = (
    *("_id", "value", "base", "step", "lower", "upper", "reset", "admin", "inc"),
    *("created", "updated", "expires", "idle", "n", "m", "h", "d", "M", "H", "D"),
)

PROJECTION: Document = {**dict.fromkeys(_READ, True), "now": "$$NOW"}
"""What of a document :func:`counter` needs, with the moment at which it was read."""

ALIVE: Document = {
    "$and": [
        {"$or": [{name: None}, {"$expr": {"$gt": [f"${name}", "$$NOW"]}}]}
        for name in ("expires", "idle")
    ]
}
"""The filter for counters whose end has not come. The server removes others once a minute."""


def key_of(identity: str) -> Key:
    """Return the key of a document by its ``_id``."""
    namespace, _, name = identity.partition("/")
    return Key(namespace, name)


def counter(document: Mapping[str, Any]) -> Counter:
    """Return the counter that a document, read with ``PROJECTION``, holds."""
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
        idle=document.get("idle"),
        nodes={_node(name): int(amount) for name, amount in document.get("n", {}).items()},
        base=int(document["base"]),
        minutes=_buckets(document, "m"),
        hours=_buckets(document, "h"),
        days=_buckets(document, "d"),
        set_minutes=_buckets(document, "M"),
        set_hours=_buckets(document, "H"),
        set_days=_buckets(document, "D"),
        seen=document["now"],
    )


def field(node: str) -> str:
    """Return a node's name as the name of a field."""
    # A dot would make MongoDB nest; node names cannot have a '%' of their own.
    return node.replace(".", "%2E")


def _node(name: str) -> str:
    return name.replace("%2E", ".")


def _buckets(document: Mapping[str, Any], name: str) -> dict[int, int]:
    return {int(number): int(amount) for number, amount in document.get(name, {}).items()}
