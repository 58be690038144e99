"""``/api/v1``: counters as JSON. What is answered to what is said in ``openapi``."""

import json
import uuid
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, g, request, url_for
from flask.typing import ResponseReturnValue

from counterapp import (
    access,
    admin,
    history,
    inputs,
    openapi,
    operators,
    prefetch,
    problems,
    shapes,
    transfer,
)
from counterapp.counters import (
    DEFAULT_NAMESPACE,
    SHARED,
    Counter,
    CounterStore,
    Key,
    NotFound,
    Plan,
    StoreUnavailable,
)
from counterapp.limits import Limits
from counterapp.settings import Settings

PAGE = 100
"""How many counters a page has if the client does not say."""

LARGEST_PAGE = 500

NO_RATES = {"minute": 0.0, "hour": 0.0, "day": 0.0}

PLAN = {
    "namespace": inputs.name,
    "key": inputs.name,
    "value": inputs.integer(),
    "step": inputs.step,
    "lower": inputs.or_null(inputs.integer()),
    "upper": inputs.or_null(inputs.integer()),
    "resettable": inputs.boolean,
    "lifetime": inputs.or_null(inputs.integer(1, inputs.LONGEST_LIFETIME)),
}


def blueprint(settings: Settings, store: CounterStore, limits: Limits) -> Blueprint:
    """Return the routes of the JSON API."""
    api = Blueprint("v1", __name__, url_prefix="/api/v1")
    access_rules = access.Operators(settings.operator_key, settings.operator_key_also)
    api.before_request(_nothing_ahead)
    api.before_request(_no_preconditions)
    _counters(api, store, limits, access_rules)
    _changes(api, settings, store, limits)
    _service(api, settings, store)
    transfer.add_routes(api, store, access_rules, limits)
    operators.add_routes(api, settings, store, access_rules)
    return api


def _nothing_ahead() -> None:
    # A hit is answered all the same: whoever made it ahead shows the answer later.
    reading = request.method in {"GET", "HEAD"} or request.endpoint == "v1.hit"
    if prefetch.ahead(request) and not reading:
        abort(403, f"{prefetch.REFUSAL}.")


def _no_preconditions() -> None:
    if request.method in {"GET", "HEAD"}:
        return
    for header in ("If-Match", "If-None-Match", "If-Unmodified-Since"):
        if header in request.headers:
            # To ignore it would do what the client asked not to be done.
            abort(400, f"Changes under a condition are not offered: leave {header} out.")


def _counters(api: Blueprint, store: CounterStore, limits: Limits, rules: access.Operators) -> None:
    @api.post("/counters")
    def create() -> ResponseReturnValue:
        inputs.query()
        plan = inputs.json_object(PLAN)
        lower, upper = plan.get("lower"), plan.get("upper")
        if lower is not None and upper is not None and lower > upper:
            abort(422, "Lower must not be above upper.")
        key = Key.make(
            plan.pop("namespace", DEFAULT_NAMESPACE), plan.pop("key", None) or uuid.uuid4().hex
        )
        given = access.owner_to_be()
        secret = given or admin.make()
        # The one time that anybody sees it.
        told = {"admin_key": secret} if given is None else {}
        try:
            with limits.creation(g.client):
                made = store.create(key, Plan(**plan), admin.digest(secret))
        except StoreUnavailable as error:
            # It may be there by now: without these, nobody could try again, or find it.
            return problems.refusal(error, namespace=key.namespace, key=key.name, **told)
        body = shapes.counter(made) | told
        where = url_for("v1.read", namespace=key.namespace, name=key.name)
        return body, 201, {"Location": where}

    @api.get("/counters")
    def page() -> Response:
        parameters = inputs.query("after", "limit")
        limit = inputs.whole_number(parameters, "limit", PAGE, LARGEST_PAGE)
        after = _cursor(parameters["after"]) if "after" in parameters else None
        owner = rules.owner_or_operator()
        # One more than asked for tells whether there is a next page.
        found = store.page(owner, after, limit + 1)
        if owner is not None and not found:
            access.owns_some(owner, store)
        following = str(found[limit - 1].key) if len(found) > limit else None
        items = [shapes.counter(each) for each in found[:limit]]
        response = shapes.conditional({"items": items, "next": following})
        if following:
            target = urlencode({"after": following, "limit": limit}, safe="/")
            response.headers["Link"] = f'<{url_for("v1.page")}?{target}>; rel="next"'
        return response

    @api.get("/counters/<namespace>/<name>")
    def read(namespace: str, name: str) -> Response:
        inputs.query()
        return shapes.conditional(shapes.counter(_there(store, inputs.key(namespace, name))))

    @api.get("/counters/<namespace>/<name>/history")
    def chart(namespace: str, name: str) -> Response:
        key = inputs.key(namespace, name)
        resolution = inputs.choice(inputs.query("resolution"), "resolution", history.SECONDS)
        points = [
            {"time": shapes.time(point.time), "value": point.value, "change": point.change}
            for point in history.points(_there(store, key), resolution)
        ]
        return shapes.conditional({"resolution": resolution, "points": points})


def _there(store: CounterStore, key: Key) -> Counter:
    found = store.read(key)
    if found is None:
        raise NotFound(f"There is no counter {key}")
    return found


def _cursor(text: str) -> Key:
    namespace, _, name = text.partition("/")
    try:
        return Key.make(namespace, name)
    except ValueError:
        abort(400, "after must be what an earlier page gave as 'next'.")


def changed(settings: Settings, key: Key, value: int, **members: Any) -> dict[str, Any]:
    """Return what is answered to a change of a counter."""
    node, release = settings.node, settings.release
    who = {"namespace": key.namespace, "key": key.name, "value": value}
    return {**who, **members, "node": node, "release": release}


def _changes(api: Blueprint, settings: Settings, store: CounterStore, limits: Limits) -> None:
    def answer(key: Key, value: int, **members: Any) -> dict[str, Any]:
        return changed(settings, key, value, **members)

    # Most of them are answered before they come here: see ``shortcut``.
    @api.post("/counters/<namespace>/<name>/hits")
    def hit(namespace: str, name: str) -> dict[str, Any]:
        key = inputs.key(namespace, name)
        inputs.query()
        inputs.no_body()
        once = inputs.idempotency_key()
        if prefetch.ahead(request):
            found = store.read(key)
            return answer(key, found.value if found else 0, replayed=False)
        counted = limits.hit(g.client, key, once)
        return answer(key, counted.value, replayed=counted.replayed)

    @api.post("/counters/<namespace>/<name>/updates")
    def update(namespace: str, name: str) -> dict[str, Any]:
        key = inputs.key(namespace, name)
        inputs.query()
        amount = inputs.json_object({"amount": inputs.integer()}, ["amount"])["amount"]
        counted = store.add(key, amount, access.owner(), inputs.idempotency_key())
        return answer(key, counted.value, replayed=counted.replayed)

    @api.put("/counters/<namespace>/<name>/value")
    def put(namespace: str, name: str) -> dict[str, Any]:
        key = inputs.key(namespace, name)
        inputs.query()
        owner = access.owner_surely()
        value = inputs.json_object({"value": inputs.integer()}, ["value"])["value"]
        before, after = store.set(key, value, owner)
        return answer(key, after, previous=before)

    @api.delete("/counters/<namespace>/<name>")
    def delete(namespace: str, name: str) -> ResponseReturnValue:
        key = inputs.key(namespace, name)
        inputs.query()
        store.delete(key, access.owner_surely())
        return "", 204


def _service(api: Blueprint, settings: Settings, store: CounterStore) -> None:
    # Written once: it is long.
    document = json.dumps(openapi.document(settings.release), sort_keys=True)

    @api.get("/requests")
    def requests() -> dict[str, Any]:
        inputs.query()
        found = store.read(Key(DEFAULT_NAMESPACE, SHARED))
        # It is there from the start, whether or not anybody was counted yet.
        rates = history.rates(found) if found else NO_RATES
        return {
            "total": found.value if found else 0,
            "nodes": found.nodes if found else {},
            "rates": rates,
            "node": settings.node,
            "release": settings.release,
        }

    @api.get("/stats")
    def stats() -> dict[str, Any]:
        inputs.query()
        totals = store.totals()
        return {
            "counters": totals.counters,
            "namespaces": totals.namespaces,
            "hits": shapes.exact(totals.hits),
            "node": settings.node,
            "release": settings.release,
        }

    @api.get("/openapi.json")
    def described() -> Response:
        inputs.query()
        return shapes.conditional_text(document)
