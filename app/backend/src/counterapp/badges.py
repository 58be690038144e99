"""``/badge/<namespace>/<key>.svg``: a counter's value as a badge; ``?hit=1`` counts a hit first.

``/badge/<namespace>/<key>.json`` has the same for shields' endpoint badge, and counts nothing.

What asking again cannot change is told in the image with 200: GitHub's image proxy shows no image
at all for another status. That the database is away, or that a client has had its share, is a 503
or a 429, which nobody may keep and after which one may come back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, g, json, request

from counterapp import colours, figures, inputs, params, prefetch, problems, shapes
from counterapp.counters import DEFAULT_NAMESPACE, Counted, CounterStore, Key, StoreError
from counterapp.drawing import STYLES, Badge, draw
from counterapp.letters import drawable
from counterapp.limits import Limits
from counterapp.shields import NOT_KEPT, POLICY

LONGEST_LABEL = 100


@dataclass(frozen=True)
class _Message:
    """What a badge has to say."""

    text: str
    colour: str = "blue"
    status: int = 200
    failed: bool = False
    retry_after: int | None = None
    """Seconds after which one may try again; None where that changes nothing."""
    replayed: bool = False
    """Whether the hit was counted earlier, under the same idempotency key."""


def blueprint(store: CounterStore, limits: Limits) -> Blueprint:
    """Return the routes of the badges."""
    badges = Blueprint("badges", __name__)

    @badges.get("/badge/<name>.svg")
    @badges.get("/badge/<namespace>/<name>.svg")
    def image(name: str, namespace: str = DEFAULT_NAMESPACE) -> Response:
        try:
            counting = params.flag(request, "hit", False)
        except ValueError:
            return _drawn(_failure("bad hit"))

        def value(key: Key) -> Counted | None:
            if not counting:
                return _read(store, key)
            # Who only wants to see whether something is there must not change it, and of what a
            # browser fetches ahead nobody knows whether it will be seen.
            if request.method == "HEAD" or prefetch.ahead(request):
                return _read(store, key) or Counted(0)
            return limits.hit(g.client, key, inputs.idempotency_key())

        response = _drawn(_message(namespace, name, value))
        if counting:
            response.headers["Cache-Control"] = NOT_KEPT
        elif response.status_code == 200:
            # Proxies may keep it, but must ask each time whether it is still the same.
            response.headers["Cache-Control"] = "no-cache"
            response.add_etag()
            # An image has no way to say that it is not what If-Match names.
            known = {"REQUEST_METHOD", "HTTP_IF_NONE_MATCH"} & request.environ.keys()
            response.make_conditional({name: request.environ[name] for name in known})
        return response

    @badges.get("/badge/<name>.json")
    @badges.get("/badge/<namespace>/<name>.json")
    def endpoint(name: str, namespace: str = DEFAULT_NAMESPACE) -> Response:
        message = _message(namespace, name, lambda key: _read(store, key))
        if message.status == 200:
            return shapes.conditional(_described(message))
        told = json.dumps(_described(message))
        return _finished(Response(told, message.status, mimetype="application/json"), message)

    return badges


def _read(store: CounterStore, key: Key) -> Counted | None:
    found = store.read(key)
    return None if found is None else Counted(found.value)


def _message(namespace: str, name: str, value: Callable[[Key], Counted | None]) -> _Message:
    """Return what a badge says of a counter, whose value comes from ``value``."""
    try:
        counted = value(Key.make(namespace, name))
    except ValueError:
        return _failure("bad name")
    except StoreError as error:
        status = problems.REFUSALS.get(type(error), 503)
        if status not in {429, 503}:
            return _failure("not counted")
        retry_after = problems.retry_after(error)
        return _Message("unavailable", "lightgrey", status, failed=True, retry_after=retry_after)
    if counted is None:
        return _failure("not found")
    return _Message(_written(counted.value), replayed=counted.replayed)


def _failure(text: str) -> _Message:
    return _Message(text, "red", failed=True)


def _written(value: int) -> str:
    if request.args.get("abbreviated", "").lower() in {"true", "1"}:
        return figures.abbreviated(value)
    separator = request.args.get("separator", "")
    return figures.grouped(value, separator if separator in figures.SEPARATORS else "")


def _label() -> str:
    return drawable(request.args.get("label", "hits"), LONGEST_LABEL)


def _asked(message: _Message, name: str, old_name: str) -> str | None:
    """Return a colour that the client wants, by either of the names that shields has for it.

    What failed keeps its own colours, so that it looks like that everywhere.
    """
    return None if message.failed else request.args.get(name, request.args.get(old_name))


def _drawn(message: _Message) -> Response:
    badge = Badge(
        _label(),
        message.text,
        colours.parse(_asked(message, "color", "colorB"), colours.SHIELDS[message.colour]),
        colours.parse(_asked(message, "labelColor", "colorA"), colours.SHIELDS["grey"]),
    )
    drawn = draw(badge, request.args.get("style", "flat"))
    response = Response(drawn, message.status, mimetype="image/svg+xml")
    response.headers["Content-Security-Policy"] = POLICY
    return _finished(response, message)


def _described(message: _Message) -> dict[str, Any]:
    """Return what shields draws from. It refuses all that its schema does not have."""
    body: dict[str, Any] = {"schemaVersion": 1, "label": _label(), "message": message.text}
    body["color"] = colours.parse(_asked(message, "color", "colorB"), message.colour)
    if label_colour := colours.parse(_asked(message, "labelColor", "colorA"), ""):
        body["labelColor"] = label_colour
    if (style := request.args.get("style")) in STYLES:
        body["style"] = style
    if message.failed:
        body["isError"] = True
    return body


def _finished(response: Response, message: _Message) -> Response:
    if message.retry_after is not None:
        response.headers["Retry-After"] = str(message.retry_after)
    if message.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response
