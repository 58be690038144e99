"""``/countapi/…``: CountAPI to the letter of its documentation, for its clients as they are.

Beside it, at the root, the same verbs say more and ask for more; ``compat`` has them. Here answers
have CountAPI's members and no other, pages have the names that it gave them, and what is created
without an admin key is nobody's: anybody may update it within its bounds, and set it if it was made
with ``enable_reset``, as it was there. Who puts a key into the base URL owns what it creates.
"""

from typing import Any

from flask import Blueprint, Response, g, request

from counterapp import admin, creation, dialects, family, inputs, params, places
from counterapp.answers import answer
from counterapp.counters import (
    DEFAULT_NAMESPACE,
    LARGEST,
    AlreadyThere,
    Counter,
    CounterStore,
    Forbidden,
    Key,
    NotFound,
    OutOfBounds,
    StoreError,
)
from counterapp.limits import Limits
from counterapp.settings import Settings

MEMBERS = {
    "create": ("namespace", "key", "value"),
    "info": (
        *("namespace", "key", "ttl", "value", "enable_reset"),
        *("update_upperbound", "update_lowerbound", "created"),
    ),
    "set": ("old_value", "value"),
}
"""What an answer has, and null in each where there is nothing; others have ``value`` alone."""


def blueprint(settings: Settings, store: CounterStore, limits: Limits) -> Blueprint:
    """Return CountAPI's routes."""
    countapi = Blueprint("countapi", __name__, url_prefix=family.COUNTAPI)
    dialects.register_checks(countapi)
    route = dialects.router(countapi)

    @countapi.errorhandler(StoreError)
    def refused(error: StoreError) -> Response:
        return dialects.refusal(error, _refused(store, error))

    dialects.add_counting(route, store, limits, _key)

    @route("info")
    def info(name: str, namespace: str | None = None) -> Response:
        return answer(described(dialects.read(store, _key(namespace, name))))

    @route("update")
    def update(name: str, namespace: str | None = None) -> Response:
        key, owner = _key(namespace, name), admin.presented(request)
        amount = params.required(request, "amount", 5)
        return dialects.counted(store.add(key, amount, owner, inputs.idempotency_key()))

    @route("set")
    def put(name: str, namespace: str | None = None) -> Response:
        key = _key(namespace, name)
        return dialects.written(store, key, params.required(request, "value", 42))

    @route("create", "/create")
    def create() -> Response:
        key = _key(*creation.names(None, None))
        # Nobody's, where no key came along: the answer has no room for a new one.
        plan, owner = creation.plan(abacus=False), creation.own_key()
        with limits.creation(g.client):
            value = store.create(key, plan, owner).value
        return answer({"namespace": key.namespace, "key": key.name, "value": value})

    @route("stats", "/stats")
    def stats() -> Response:
        return answer(dialects.whole(settings, store, store.totals()))

    return countapi


def described(counter: Counter) -> dict[str, Any]:
    """Return what CountAPI tells of a counter; ``ttl`` is in milliseconds, null for never."""
    ends = [end for end in (counter.expires, counter.idle) if end is not None]
    left = max(0.0, (min(ends) - counter.seen).total_seconds()) if ends else None
    plan = counter.plan
    return {
        "namespace": counter.key.namespace,
        "key": counter.key.name,
        "ttl": None if left is None else int(left * 1000),
        "value": counter.value,
        "enable_reset": plan.resettable,
        "update_upperbound": LARGEST if plan.upper is None else plan.upper,
        "update_lowerbound": -LARGEST if plan.lower is None else plan.lower,
        "created": int(counter.created.timestamp() * 1000),
    }


def _refused(store: CounterStore, error: StoreError) -> dict[str, Any]:
    """Return the body for what a store raised: CountAPI's, where it has one for that."""
    members = MEMBERS.get(family.verb(request.path), ("value",))
    if isinstance(error, NotFound | AlreadyThere):
        return dict.fromkeys(members)
    if isinstance(error, Forbidden | OutOfBounds):
        value = dialects.unchanged(store)
        if value is not None and "key" not in members:
            return dict.fromkeys(members, value)
    return {"error": str(error)}


def _key(namespace: str | None, name: str) -> Key:
    return dialects.key(
        namespace or DEFAULT_NAMESPACE, name, lambda word: places.countapi(word, request)
    )
