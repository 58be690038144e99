"""The Flask application, put together from its parts."""

import logging
import re
import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request

from counterapp import api, frontend, health, problems
from counterapp.logs import elapsed_ms
from counterapp.readiness import Readiness
from counterapp.settings import Settings
from counterapp.store import CounterStore, MongoStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = re.compile("[A-Za-z0-9._:-]{1,128}")

access_log = logging.getLogger("counterapp.access")


def create_app(settings: Settings, store: CounterStore | None = None) -> Flask:
    """Build the application.

    :param store: where counters are kept; by default the replica set that ``settings`` names.
        No connection is made before the first request.
    """
    store = store or MongoStore(
        settings.mongodb_uri,
        settings.database,
        timeout=settings.database_timeout,
        probe_timeout=settings.ready_timeout,
    )
    app = Flask("counterapp", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = api.MAX_BODY
    app.url_map.merge_slashes = False
    app.wsgi_app = _never_without_path(app.wsgi_app)  # type: ignore[assignment,method-assign]
    problems.register(app)
    _register_request_frame(app, settings)
    app.register_blueprint(api.blueprint(settings, store))
    app.register_blueprint(health.blueprint(settings, Readiness(store, settings.node)))
    app.register_blueprint(frontend.blueprint(settings.static))
    return app


def _never_without_path(wsgi_app: "WSGIApplication") -> "WSGIApplication":
    """Take ``GET http://host`` for what it means, ``/``; routing would answer with a redirect."""

    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ["PATH_INFO"] = environ.get("PATH_INFO") or "/"
        return wsgi_app(environ, start_response)

    return call


def _register_request_frame(app: Flask, settings: Settings) -> None:
    """What surrounds every request: its ID, who answered it, and its line in the log."""

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        asked = request.headers.get("X-Request-ID", "")
        g.request_id = asked if REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Served-By"] = settings.node
        response.headers["X-Release"] = settings.release
        response.headers["X-Request-ID"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        # What is counted now is not what is counted next; files set their own rule.
        response.headers.setdefault("Cache-Control", "no-store")
        _log_access(response, settings)
        return response


def _log_access(response: Response, settings: Settings) -> None:
    # Balancers ask several times a second; only their bad news is worth a line.
    quiet = request.path in health.PATHS and response.status_code < 400
    access_log.log(
        logging.DEBUG if quiet else logging.INFO,
        "request",
        extra={
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "duration_ms": elapsed_ms(g.started),
            "request_id": g.request_id,
            "client": request.remote_addr,
            "node": settings.node,
            "release": settings.release,
        },
    )
