"""The short way of a plain hit, past Flask, which costs several times what counting does.

A plain hit is ``POST /api/v1/counters/<namespace>/<key>/hits`` with nothing that would need a
closer look: no body, no query, no ``Idempotency-Key``. Everything else goes on to Flask, and so
does a hit that failed, to be answered where all errors are. What the short way answers
is what Flask would have, to the byte; tests/unit/app/test_shortcut.py compares the two.
"""

import json
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, request

from counterapp import cors, v1
from counterapp.counters import CounterStore, Key
from counterapp.frame import NO_STORE, Frame
from counterapp.metrics import Metrics
from counterapp.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ROUTE = "/api/v1/counters/<namespace>/<name>/hits"
_NAME = "([A-Za-z0-9_.-]{3,64})"
_PATH = re.compile(f"/api/v1/counters/{_NAME}/{_NAME}/hits")

NOT_PLAIN = frozenset(
    {
        *("HTTP_TRANSFER_ENCODING", "HTTP_IDEMPOTENCY_KEY", "HTTP_EXPECT"),
        *("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_UNMODIFIED_SINCE"),
    }
)
"""Headers that make a hit one for Flask."""

STARTED = "counterapp.started"
"""When the request began, where Flask was not the first to see it."""

_FAILURE = "counterapp.failure"

# As Flask writes JSON.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def register(
    app: Flask, settings: Settings, store: CounterStore, frame: Frame, metrics: Metrics
) -> None:
    """Let plain hits on ``app`` go the short way. To be called when all else is registered."""

    @app.before_request
    def fail() -> None:
        if failure := request.environ.pop(_FAILURE, None):
            raise failure

    way = _Shortcut(app.wsgi_app, settings, store, frame, metrics)
    app.wsgi_app = way  # type: ignore[method-assign]


class _Shortcut:
    def __init__(
        self,
        wsgi_app: "WSGIApplication",
        settings: Settings,
        store: CounterStore,
        frame: Frame,
        metrics: Metrics,
    ) -> None:
        self._wsgi_app = wsgi_app
        self._settings = settings
        self._store = store
        self._frame = frame
        self._metrics = metrics
        self._headers = [
            ("Content-Type", "application/json"),
            NO_STORE,
            *cors.headers("/api/", "POST").items(),
        ]

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        key = _plain_hit(environ)
        if key is None:
            return self._wsgi_app(environ, start_response)
        started = time.perf_counter()
        try:
            counted = self._store.hit(key)
        except Exception as error:
            # Raised again there: a refusal or a bug, Flask's handlers know what to say.
            environ[STARTED], environ[_FAILURE] = started, error
            return self._wsgi_app(environ, start_response)
        answer = v1.changed(self._settings, key, counted.value, replayed=counted.replayed)
        body = _encode(answer).encode() + b"\n"
        request_id = self._frame.request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        start_response(
            "200 OK",
            [
                ("Content-Length", str(len(body))),
                *self._headers,
                *self._frame.headers(request_id).items(),
            ],
        )
        self._metrics.count(ROUTE, "POST", 200, time.perf_counter() - started)
        self._frame.log(
            started=started,
            method="POST",
            path=environ["PATH_INFO"],
            status=200,
            request_id=request_id,
            client=environ.get("REMOTE_ADDR"),
        )
        return [body]


def _plain_hit(environ: "WSGIEnvironment") -> Key | None:
    """Return the counter of a plain hit, None for anything else."""
    if (
        environ["REQUEST_METHOD"] != "POST"
        or environ.get("QUERY_STRING")
        or environ.get("CONTENT_LENGTH", "0") not in {"", "0"}
        or not NOT_PLAIN.isdisjoint(environ)
    ):
        return None
    found = _PATH.fullmatch(environ.get("PATH_INFO", ""))
    return Key(found[1], found[2]) if found else None
