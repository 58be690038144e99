"""What the dialects of the CountAPI family have in common: routes, checks, names, refusals."""

import logging
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, abort, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from counterapp import admin, answers, family, inputs, params, prefetch, problems, shapes, shields
from counterapp.answers import answer
from counterapp.counters import (
    DEFAULT_NAMESPACE,
    SHARED,
    Counted,
    Counter,
    CounterStore,
    Key,
    NotFound,
    OutOfBounds,
    StoreError,
    StoreUnavailable,
    Totals,
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
    *("update_lowerbound", "update_upperbound", "expiration", "step"),
    *(*admin.QUERY, *shields.QUERY),
)
"""All that is ever looked at. Others are let pass: clients add some against caches."""

SERVICE = Key(DEFAULT_NAMESPACE, SHARED)

View = Callable[..., Response]

log = logging.getLogger(__name__)


def router(blueprint: Blueprint) -> Callable[..., Callable[[View], View]]:
    """Return a decorator that adds a view for a verb to ``blueprint``, with its methods.

    It takes the verb, and the paths where they are not those of all verbs. A slash behind them
    makes no difference, as with the servers whose place this takes.
    """

    def route(verb: str, *paths: str) -> Callable[[View], View]:
        def add(view: View) -> View:
            for path in paths or (f"/{verb}/<name>", f"/{verb}/<namespace>/<name>"):
                blueprint.add_url_rule(
                    *(path, view.__name__, view),
                    methods=family.METHODS[verb],
                    strict_slashes=False,
                )
            return view

        return add

    return route


def register_checks(blueprint: Blueprint) -> None:
    """Let ``blueprint`` look at each request before its view does, and tell what is wrong."""

    @blueprint.before_request
    def check() -> None:
        params.refuse_repeated(request, PARAMETERS)
        answers.choose(request)
        verb = family.verb(request.path)
        # Who only wants to see whether something is there must not change it.
        if request.method == "HEAD" and verb not in family.READING:
            raise MethodNotAllowed(
                family.METHODS[verb], "A HEAD request changes nothing, so try another"
            )
        if prefetch.ahead(request) and verb not in (*family.READING, "hit"):
            abort(403, prefetch.REFUSAL)
        # Parameters are in the query, whatever clients send along; but it has to end.
        inputs.body()

    @blueprint.errorhandler(ValueError)
    def bad(error: ValueError) -> Response:
        return answer({"error": str(error)}, 400)

    @blueprint.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return family.http_error(error)


def add_counting(
    route: Callable[..., Callable[[View], View]],
    store: CounterStore,
    limits: Limits,
    named: Callable[[str | None, str], Key],
) -> None:
    """Add what all of them do alike: to count a hit, and to tell a value.

    :param route: of :func:`router`.
    :param named: gives the key that a path's namespace and name stand for.
    """

    @route("hit")
    def hit(name: str, namespace: str | None = None) -> Response:
        key, once = named(namespace, name), inputs.idempotency_key()
        if prefetch.ahead(request):
            return answer({"value": value_ahead(store, key)})
        return counted(limits.hit(g.client, key, once))

    @route("get")
    def get(name: str, namespace: str | None = None) -> Response:
        return answer({"value": read(store, named(namespace, name)).value})


def key(namespace: str, name: str, resolve: Callable[[str], str]) -> Key:
    """Return the key of these names, and remember it for ``X-Path``.

    :param resolve: gives the name that a word of the path stands for.
    """
    try:
        found = Key.make(resolve(namespace), resolve(name))
    except ValueError as error:
        raise ValueError(f"Malformed Namespace/Key. {error}") from None
    g.path, g.key = str(found), found
    return found


def read(store: CounterStore, key: Key) -> Counter:
    """Return a counter; ``NotFound`` if there is none."""
    counter = store.read(key)
    if counter is None:
        raise NotFound("Key not found")
    return counter


def value_ahead(store: CounterStore, key: Key) -> int:
    """Return what a hit that is made ahead is told: the value as it is."""
    found = store.read(key)
    return found.value if found else 0


def written(store: CounterStore, key: Key, value: int) -> Response:
    """Set a counter for whoever has sent the request, and answer."""
    old, new = store.set(key, value, admin.presented(request))
    return answer({"old_value": old, "value": new})


def counted(done: Counted) -> Response:
    """Answer a hit or an update."""
    return replayed(answer({"value": done.value}), done)


def replayed(response: Response, done: Counted) -> Response:
    """Say in the head of a response that its hit was counted earlier, if it was."""
    if done.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def whole(settings: Settings, store: CounterStore, found: Totals) -> dict[str, Any]:
    """Return what CountAPI tells of the whole service."""
    shared = store.read(SERVICE)
    return {
        "keys_created": found.counters,
        "keys_updated": shapes.exact(found.hits),
        "requests": shared.value if shared else 0,
        "version": settings.release,
    }


def refusal(error: StoreError, body: dict[str, Any]) -> Response:
    """Answer with what a store refused, or could not do."""
    status = STATUS[type(error)]
    if status == 503:
        problems.note(error)
    response = answer(body, status)
    if status in (429, 503):
        response.headers["Retry-After"] = str(problems.retry_after(error))
    return response


def unchanged(store: CounterStore) -> int | None:
    """Return the value that a refused change has left as it was; None if it cannot be had."""
    try:
        counter = store.read(g.key) if "key" in g else None
    except StoreError as error:
        # The refusal stands all the same; what is missing is a courtesy.
        log.warning("%s", error, extra={"cause": repr(error.__cause__)[:500]})
        return None
    return counter.value if counter else None
