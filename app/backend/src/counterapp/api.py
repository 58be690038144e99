"""``/api/hits``: count a hit, look at a counter."""

import logging
import re
from typing import Any

from flask import Blueprint, abort, request
from werkzeug.exceptions import HTTPException

from counterapp.settings import Settings
from counterapp.store import CounterStore

SHARED = "shared"
"""The counter that the page shows: visits to the whole service."""

NAME = re.compile("[A-Za-z0-9_.-]{3,64}")
MAX_BODY = 16 * 1024

log = logging.getLogger(__name__)


def blueprint(settings: Settings, store: CounterStore) -> Blueprint:
    """Return the routes of the JSON API."""
    api = Blueprint("api", __name__, url_prefix="/api")

    def answer(name: str, count: int, **members: Any) -> dict[str, Any]:
        node, release = settings.node, settings.release
        return {"counter": name, "count": count, "node": node, "release": release, **members}

    @api.post("/hits")
    @api.post("/hits/<name>")
    def hit(name: str = SHARED) -> dict[str, Any]:
        _check_name(name)
        _check_no_body()
        return answer(name, store.hit(name, settings.node))

    @api.get("/hits")
    @api.get("/hits/<name>")
    def read(name: str = SHARED) -> dict[str, Any]:
        _check_name(name)
        counter = store.read(name)
        if counter is None and name != SHARED:
            abort(404, f"No hit was ever counted on {name}.")
        if counter is None:
            return answer(name, 0, nodes={})
        return answer(name, counter.count, nodes=counter.nodes)

    return api


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        abort(400, "A counter's name has 3 to 64 letters, digits, '_', '.' or '-'.")


def _check_no_body() -> None:
    if request.content_length is not None and request.content_length > MAX_BODY:
        abort(413, f"A hit takes no body, and none above {MAX_BODY} bytes is even read.")
    # Reading also covers chunked bodies, which announce no length; Flask's limit ends it.
    try:
        body = request.get_data(cache=False)
    except HTTPException:
        raise
    except Exception as error:
        # Each WSGI server has its own errors for bytes that are no body by the rules of HTTP.
        log.info("unreadable body", extra={"cause": repr(error)[:500]})
        abort(400, "The request's body cannot be read.")
    if body:
        abort(400, "A hit takes no body: send the request without one.")
