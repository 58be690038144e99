"""The Flask application, put together from its parts."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request

from counterapp import (
    badges,
    compat,
    cors,
    countapi,
    frontend,
    health,
    inputs,
    logs,
    metrics,
    problems,
    shortcut,
    stream,
    v1,
)
from counterapp.clients import HEADER, Clients
from counterapp.counters import CounterStore
from counterapp.frame import NO_STORE, Frame
from counterapp.limits import Limits
from counterapp.mongo import MongoStore
from counterapp.readiness import Readiness
from counterapp.settings import Settings
from counterapp.watch import Watch

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create_app(settings: Settings, store: CounterStore | None = None) -> Flask:
    """Build the application.

    :param store: where counters are kept; by default the replica set that ``settings`` names.
        No connection is made before the first request.
    """
    store = store or MongoStore(
        settings.mongodb_uri,
        settings.database,
        node=settings.node,
        timeout=settings.database_timeout,
        probe_timeout=settings.ready_timeout,
        hit_deadline=settings.hit_deadline,
        waiting=settings.waiting,
        keep_keys=settings.keep_keys,
        unowned_lifetime=settings.unowned_lifetime,
        most_counters=settings.most_counters,
        most_keys=settings.most_keys,
        combine=settings.combine,
    )
    app = Flask("counterapp", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = inputs.MAX_BODY
    app.url_map.merge_slashes = False
    app.wsgi_app = _never_without_path(app.wsgi_app)  # type: ignore[assignment,method-assign]
    problems.register(app)
    frame = Frame(settings)
    limits = Limits(settings, store)
    _register_request_frame(app, frame, limits.clients)
    cors.register(app)
    numbers = metrics.register(app, settings, store)
    watch = Watch(store, settings.max_streams, settings.client_streams)
    numbers.watch("counterapp_streams", "Streams of events that are open.", watch.count)
    numbers.watch(
        "counterapp_log_lines_dropped",
        "Lines of the log that were dropped because nobody took them.",
        logs.standard_output().dropped,
    )
    # For the worker, which limits places, and whose stop must not wait for streams.
    app.extensions["counterapp.limits"] = limits
    app.extensions["counterapp.watch"] = watch
    app.register_blueprint(v1.blueprint(settings, store, limits))
    app.register_blueprint(compat.blueprint(settings, store, limits))
    app.register_blueprint(countapi.blueprint(settings, store, limits))
    app.register_blueprint(badges.blueprint(store, limits))
    app.register_blueprint(stream.blueprint(watch, store))
    app.register_blueprint(health.blueprint(settings, Readiness(store, settings.node)))
    app.register_blueprint(frontend.blueprint(settings.static))
    shortcut.register(app, settings, limits, frame, numbers)
    return app


def _never_without_path(wsgi_app: "WSGIApplication") -> "WSGIApplication":
    """Take ``GET http://host`` for what it means, ``/``; routing would answer with a redirect."""

    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ["PATH_INFO"] = environ.get("PATH_INFO") or "/"
        return wsgi_app(environ, start_response)

    return call


def _register_request_frame(app: Flask, frame: Frame, clients: Clients) -> None:
    @app.before_request
    def begin() -> None:
        g.started = shortcut.started()
        g.client = clients.of(request.remote_addr or "", request.headers.get(HEADER, ""))
        g.request_id = frame.request_id(request.headers.get("X-Request-ID", ""))
        inputs.readable_query()

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers.update(frame.headers(g.request_id))
        # Files set their own rule.
        response.headers.setdefault(*NO_STORE)
        frame.log(
            started=g.started,
            # Balancers ask all the time; only their bad news is worth a line.
            quiet=request.path in health.PATHS and response.status_code < 400,
            method=request.method,
            path=request.path,
            status=response.status_code,
            request_id=g.request_id,
            client=g.client.address,
        )
        return response
