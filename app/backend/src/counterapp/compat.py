"""The routes of CountAPI and Abacus, so that their clients work with another base URL.

The two agree on most and differ in what ``/create`` means: names in the path are Abacus, a query
is CountAPI. Anybody may hit and read; whatever else changes a counter needs its admin key.
"""

import logging
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, abort, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from counterapp import (
    admin,
    answers,
    creation,
    inputs,
    params,
    places,
    prefetch,
    problems,
    shapes,
)
from counterapp.answers import answer
from counterapp.counters import (
    DEFAULT_NAMESPACE,
    LARGEST,
    SHARED,
    AlreadyThere,
    Counter,
    CounterStore,
    Forbidden,
    Key,
    NotFound,
    OutOfBounds,
    StoreError,
    StoreUnavailable,
)
from counterapp.limits import Limits
from counterapp.settings import Settings

STATUS: dict[type[StoreError], int] = {
    **problems.REFUSALS,
    # CountAPI's word for an amount that a counter does not take.
    OutOfBounds: 403,
    StoreUnavailable: 503,
}

PARAMETERS = (
    *("callback", "img", "value", "amount", "initializer", "namespace", "key", "enable_reset"),
    *("update_lowerbound", "update_upperbound", "expiration", "step", *admin.QUERY),
)
"""All that is ever looked at. Others are let pass: clients add some against caches."""

METHODS = {
    **{verb: ["GET", "POST"] for verb in ("hit", "get", "info", "reset", "stats")},
    "create": ["GET", "POST", "PUT"],
    "set": ["GET", "POST", "PUT"],
    "update": ["GET", "POST", "PATCH"],
    "delete": ["GET", "POST", "DELETE"],
}
SERVICE = Key(DEFAULT_NAMESPACE, SHARED)
READING = frozenset({"get", "info", "stats"})

log = logging.getLogger(__name__)


def blueprint(settings: Settings, store: CounterStore, limits: Limits) -> Blueprint:
    """Return the routes of the family."""
    compat = Blueprint("compat", __name__)
    _register_frame(compat, store)

    def route(verb: str, *paths: str) -> Callable[[Callable[..., Response]], None]:
        def add(view: Callable[..., Response]) -> None:
            for path in paths or (f"/{verb}/<name>", f"/{verb}/<namespace>/<name>"):
                compat.add_url_rule(path, verb, view, methods=METHODS[verb])

        return add

    @route("hit")
    def hit(name: str, namespace: str | None = None) -> Response:
        key, once = _key(namespace, name), inputs.idempotency_key()
        if prefetch.ahead(request):
            found = store.read(key)
            return answer({"value": found.value if found else 0})
        counted = limits.hit(g.client, key, once)
        return _counted(counted.value, counted.replayed)

    @route("update")
    def update(name: str, namespace: str | None = None) -> Response:
        key = _key(namespace, name)
        amount = params.one_of(request, ("amount", "value"))
        if amount is None:
            raise ValueError("amount is missing: say ?amount=5")
        counted = store.add(key, amount, admin.presented(request), inputs.idempotency_key())
        return _counted(counted.value, counted.replayed)

    @route("get")
    def get(name: str, namespace: str | None = None) -> Response:
        return answer({"value": _read(store, _key(namespace, name)).value})

    @route("info")
    def info(name: str, namespace: str | None = None) -> Response:
        return answer(_info(_read(store, _key(namespace, name))))

    @route("set")
    def set_(name: str, namespace: str | None = None) -> Response:
        key = _key(namespace, name)
        value = params.whole(request, "value", None)
        if value is None:
            raise ValueError("value is missing: say ?value=42")
        return _set(store, key, value)

    @route("reset")
    def reset(name: str, namespace: str | None = None) -> Response:
        return _set(store, _key(namespace, name), 0)

    @route("delete")
    def delete(name: str, namespace: str | None = None) -> Response:
        key = _key(namespace, name)
        store.delete(key, admin.presented(request))
        return answer({"status": "ok", "message": f"Deleted key: {key}", "value": None})

    @route("create", "/create", "/create/", "/create/<name>", "/create/<namespace>/<name>")
    def create(name: str | None = None, namespace: str | None = None) -> Response:
        key = _key(*creation.names(namespace, name))
        if key == SERVICE:
            raise AlreadyThere(f"{key} is the counter of the service itself")
        plan = creation.plan(abacus=name is not None)
        owner, told = creation.owner()
        body: dict[str, Any] = {"namespace": key.namespace, "key": key.name, **told}
        try:
            with limits.creation(g.client):
                body["value"] = store.create(key, plan, owner).value
        except StoreUnavailable as error:
            # It may be there by now: without these, nobody could try again, or find it.
            return _refusal(store, error, **body)
        # CountAPI's clients take nothing but 200, Abacus has always said 201.
        return answer(body, 201 if request.method == "POST" else 200)

    @route("stats", "/stats")
    def stats() -> Response:
        totals = store.totals()
        shared = store.read(SERVICE)
        counted = {"requests": shared.value if shared else 0, "version": settings.release}
        hits = shapes.exact(totals.hits)
        keys = {"keys_created": totals.counters, "keys_updated": hits}
        commands = {"hit": hits}
        return answer(
            {**keys, **counted, "total_keys": totals.counters, "commands": commands}
            | {"namespaces": totals.namespaces, "shard": settings.node}
        )

    return compat


def _register_frame(compat: Blueprint, store: CounterStore) -> None:
    """What is the same for all routes: checks before, refusals after."""

    @compat.before_request
    def check() -> None:
        params.refuse_repeated(request, PARAMETERS)
        answers.choose(request)
        verb = request.path.split("/")[1]
        # Who only wants to see whether something is there must not change it.
        if request.method == "HEAD" and verb not in READING:
            raise MethodNotAllowed(METHODS[verb], "A HEAD request changes nothing, so try another")
        if prefetch.ahead(request) and verb not in (*READING, "hit"):
            abort(403, prefetch.REFUSAL)
        if inputs.body():
            raise ValueError("This request takes no body: parameters go into the query string")

    @compat.errorhandler(ValueError)
    def bad(error: ValueError) -> Response:
        return answer({"error": str(error)}, 400)

    @compat.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        response = answer({"error": error.description or error.name}, error.code or 500)
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    @compat.errorhandler(StoreError)
    def refused(error: StoreError) -> Response:
        return _refusal(store, error)


def _refusal(store: CounterStore, error: StoreError, **members: Any) -> Response:
    """Build the response for what a store raised; ``members`` are added to what it says."""
    status = STATUS[type(error)]
    message = str(error)
    if isinstance(error, Forbidden) and admin.bare(request) is None:
        message += f". {admin.remedy(request)}"
    body: dict[str, Any] = {"error": message, **members}
    if status == 404:
        body |= {"value": None, "old_value": None, "exists": False}
    elif status == 403:
        body |= _unchanged(store)
    elif status == 503:
        # One line, no traceback: with the database gone, every request comes through here.
        log.warning("%s", error, extra={"cause": repr(error.__cause__)[:500]})
    response = answer(body, status)
    if status in (429, 503):
        response.headers["Retry-After"] = str(problems.retry_after(error))
    return response


def _key(namespace: str | None, name: str) -> Key:
    """Return the key of these names, and remember it for ``X-Path``."""
    try:
        key = Key.make(
            places.resolve(namespace or DEFAULT_NAMESPACE, request), places.resolve(name, request)
        )
    except ValueError as error:
        raise ValueError(f"Malformed Namespace/Key. {error}") from None
    g.path, g.key = str(key), key
    return key


def _read(store: CounterStore, key: Key) -> Counter:
    counter = store.read(key)
    if counter is None:
        raise NotFound("Key not found")
    return counter


def _counted(value: int, replayed: bool) -> Response:
    response = answer({"value": value})
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _set(store: CounterStore, key: Key, value: int) -> Response:
    old, new = store.set(key, value, admin.presented(request))
    return answer({"old_value": old, "value": new})


def _unchanged(store: CounterStore) -> dict[str, Any]:
    """Return the value that a refused change has left as it was, if it can be had."""
    try:
        counter = store.read(g.key) if "key" in g else None
    except StoreError as error:
        # The refusal stands all the same; what is missing is a courtesy.
        log.warning("%s", error, extra={"cause": repr(error.__cause__)[:500]})
        return {}
    return {"old_value": counter.value, "value": counter.value} if counter else {}


def _info(counter: Counter) -> dict[str, Any]:
    left = None
    if counter.expires is not None:
        left = max(0.0, (counter.expires - counter.seen).total_seconds())
    plan = counter.plan
    countapi = {
        "namespace": counter.key.namespace,
        "key": counter.key.name,
        "value": counter.value,
        "created": int(counter.created.timestamp() * 1000),
        "ttl": None if left is None else int(left * 1000),
        "update_lowerbound": -LARGEST if plan.lower is None else plan.lower,
        "update_upperbound": LARGEST if plan.upper is None else plan.upper,
        "enable_reset": plan.resettable,
    }
    abacus = {
        "full_key": str(counter.key),
        "is_genuine": not counter.owned,
        # Redis' word for "never", which Abacus passes on.
        "expires_in": -1 if left is None else int(left),
        "exists": True,
    }
    return {**countapi, **abacus, "step": plan.step}
