"""The routes of CountAPI and Abacus, so that their clients work with another base URL.

The two agree on most and differ in what ``/create`` means: names in the path are Abacus, a query
is CountAPI. Anybody may hit and read; whatever else changes a counter needs its admin key. Answers
have the members of both, so that each finds its own; ``countapi`` has those of CountAPI alone.
"""

import time
from typing import Any

from flask import Blueprint, Response, g, request

from counterapp import (
    admin,
    countapi,
    creation,
    dialects,
    inputs,
    params,
    places,
    prefetch,
    shields,
)
from counterapp.answers import answer
from counterapp.counters import (
    DEFAULT_NAMESPACE,
    AlreadyThere,
    Counter,
    CounterStore,
    Forbidden,
    Key,
    StoreError,
    StoreUnavailable,
)
from counterapp.limits import Limits
from counterapp.settings import Settings


def blueprint(settings: Settings, store: CounterStore, limits: Limits) -> Blueprint:
    """Return the routes of the family."""
    compat = Blueprint("compat", __name__)
    dialects.register_checks(compat)
    route = dialects.router(compat)
    _shields(compat, store, limits)
    started = time.monotonic()

    @compat.errorhandler(StoreError)
    def refused(error: StoreError) -> Response:
        return _refusal(store, error)

    dialects.add_counting(route, store, limits, _key)

    @route("update")
    def update(name: str, namespace: str | None = None) -> Response:
        key = _key(namespace, name)
        amount = params.one_of(request, ("amount", "value"))
        if amount is None:
            raise ValueError("amount is missing: say ?amount=5")
        owner = admin.presented(request)
        return dialects.counted(store.add(key, amount, owner, inputs.idempotency_key()))

    @route("info")
    def info(name: str, namespace: str | None = None) -> Response:
        return answer(_info(dialects.read(store, _key(namespace, name))))

    @route("set")
    def put(name: str, namespace: str | None = None) -> Response:
        key = _key(namespace, name)
        return dialects.written(store, key, params.required(request, "value", 42))

    @route("reset")
    def reset(name: str, namespace: str | None = None) -> Response:
        return dialects.written(store, _key(namespace, name), 0)

    @route("delete")
    def delete(name: str, namespace: str | None = None) -> Response:
        key = _key(namespace, name)
        store.delete(key, admin.presented(request))
        message = f"Deleted key: {_redis(key)}"
        return answer({"status": "ok", "message": message, "value": None})

    @route("create", "/create", "/create/<name>", "/create/<namespace>/<name>")
    def create(name: str | None = None, namespace: str | None = None) -> Response:
        abacus = name is not None or _wants_a_random_counter()
        if name is None and abacus:
            namespace, name = creation.random_names()
        key = _key(*creation.names(namespace, name))
        if key == dialects.SERVICE:
            raise AlreadyThere(f"{key} is the counter of the service itself")
        plan = creation.plan(abacus=abacus)
        owner, told = creation.owner()
        body: dict[str, Any] = {"namespace": key.namespace, "key": key.name, **told}
        try:
            with limits.creation(g.client):
                body["value"] = store.create(key, plan, owner).value
        except StoreUnavailable as error:
            # It may be there by now: without these, nobody could try again, or find it.
            return _refusal(store, error, **body)
        # CountAPI's clients take nothing but 200, Abacus has always said 201.
        return answer(body, 201 if abacus or request.method == "POST" else 200)

    @route("stats", "/stats")
    def stats() -> Response:
        totals = store.totals()
        told = dialects.whole(settings, store, totals)
        abacus = {
            "total_keys": totals.counters,
            "commands": {"hit": told["keys_updated"]},
            "shard": settings.node,
            "uptime": go_duration(time.monotonic() - started),
        }
        return answer({**told, **abacus, "namespaces": totals.namespaces})

    @route("healthcheck", "/healthcheck")
    def healthcheck() -> Response:
        return answer({"status": "ok", "uptime": go_duration(time.monotonic() - started)})

    return compat


def _shields(compat: Blueprint, store: CounterStore, limits: Limits) -> None:
    """Add Abacus' badges. Its path has both names, so that it is no counter's own."""
    route = dialects.router(compat)

    @route("hit", "/hit/<namespace>/<name>/shield")
    def hit_shield(namespace: str, name: str) -> Response:
        # What cannot be drawn is not counted.
        look, key, once = shields.look(request), _key(namespace, name), inputs.idempotency_key()
        if prefetch.ahead(request):
            return shields.answer(look, dialects.value_ahead(store, key))
        done = limits.hit(g.client, key, once)
        return dialects.replayed(shields.answer(look, done.value), done)

    @route("get", "/get/<namespace>/<name>/shield")
    def get_shield(namespace: str, name: str) -> Response:
        look, key = shields.look(request), _key(namespace, name)
        return shields.answer(look, dialects.read(store, key).value)


def _wants_a_random_counter() -> bool:
    """Return whether this is Abacus' ``/create/``, which takes no names and makes both up."""
    return request.path.endswith("/") and not {"namespace", "key"} & request.args.keys()


def _refusal(store: CounterStore, error: StoreError, **members: Any) -> Response:
    """Build the response for what a store raised; ``members`` are added to what it says."""
    status = dialects.STATUS[type(error)]
    message = str(error)
    if isinstance(error, Forbidden) and admin.bare(request) is None:
        message += f". {admin.remedy(request)}"
    body: dict[str, Any] = {"error": message, **members}
    if status == 404:
        body |= {"value": None, "old_value": None, "exists": False}
    elif status == 403 and (value := dialects.unchanged(store)) is not None:
        body |= {"old_value": value, "value": value}
    return dialects.refusal(error, body)


def _key(namespace: str | None, name: str) -> Key:
    return dialects.key(
        namespace or DEFAULT_NAMESPACE, name, lambda word: places.resolve(word, request)
    )


def _info(counter: Counter) -> dict[str, Any]:
    described = countapi.described(counter)
    # Redis' word for "never", which Abacus passes on.
    seconds = -1 if described["ttl"] is None else described["ttl"] // 1000
    abacus = {
        "full_key": _redis(counter.key),
        "is_genuine": not counter.owned,
        "expires_in": seconds,
        "expires_str": "-1ns" if described["ttl"] is None else go_duration(seconds),
        "exists": True,
    }
    return {**described, **abacus, "step": counter.plan.step}


def _redis(key: Key) -> str:
    """Return what Abacus calls a counter in Redis, and tells its clients."""
    return f"K:{key.namespace}:{key.name}"


def go_duration(seconds: float) -> str:
    """Write a time as Go does, in whole seconds."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
