"""``/badge/<namespace>/<key>.svg``: a counter's value as a badge. It reads, and counts nothing."""

from flask import Blueprint, Response, request

from counterapp import colours
from counterapp.compat import STATUS
from counterapp.counters import DEFAULT_NAMESPACE, CounterStore, Key, StoreError
from counterapp.drawing import Badge, draw
from counterapp.letters import drawable
from counterapp.problems import RETRY_AFTER

LONGEST_LABEL = 100

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""For who opens the image itself: nothing in it runs or loads anything."""


def blueprint(store: CounterStore) -> Blueprint:
    """Return the routes of the badges."""
    badges = Blueprint("badges", __name__)

    @badges.get("/badge/<name>.svg")
    @badges.get("/badge/<namespace>/<name>.svg")
    def badge(name: str, namespace: str = DEFAULT_NAMESPACE) -> Response:
        # An image that cannot be had should say so in the page, too.
        try:
            counter = store.read(Key.make(namespace, name))
        except ValueError:
            return _answer("bad name", 400, "red")
        except StoreError as error:
            return _answer("unavailable", STATUS[type(error)], "lightgrey")
        if counter is None:
            return _answer("not found", 404, "red")
        return _answer(str(counter.value), 200, "blue", request.args.get("color"))

    return badges


def _answer(message: str, status: int, default: str, colour: str | None = None) -> Response:
    label = drawable(request.args.get("label", "hits"), LONGEST_LABEL)
    said = Badge(
        label,
        message,
        colours.parse(colour, colours.SHIELDS[default]),
        colours.parse(request.args.get("labelColor"), colours.SHIELDS["grey"]),
    )
    response = Response(
        draw(said, request.args.get("style", "flat")), status, mimetype="image/svg+xml"
    )
    response.headers["Content-Security-Policy"] = POLICY
    if status in {429, 503}:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    if status != 200:
        return response
    # Image proxies may keep it, but must ask each time whether it is still the same.
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response
