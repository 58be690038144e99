"""``/metrics``, as Prometheus reads it: what this process was asked, how it answered, how long.

They are for operators, and so have a listener of their own (``COUNTERAPP_METRICS_BIND``), which the
balancers do not know: a path that they would have to refuse can be written in many ways.

Each process has numbers of its own. A node runs one (``COUNTERAPP_WORKERS``); with more, a scrape
gets the numbers of whichever answers it, and ``counterapp_build_info`` tells which that was.
"""

import os
import platform
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from werkzeug.wrappers import Request

from counterapp.backups import Backups
from counterapp.counters import CounterStore
from counterapp.problems import problem
from counterapp.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PATH = "/metrics"

EXTENSION = "counterapp.metrics"
"""What the worker finds the metrics' own WSGI application by among the application's extensions."""

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
"""Seconds. A hit should take less than 0.05 s; one that waits for an election takes more than 2."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Metrics:
    """The numbers of one process."""

    def __init__(self, settings: Settings) -> None:
        self.registry = CollectorRegistry()
        self._kinds: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "counterapp_requests",
            "Requests answered.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "counterapp_request_duration_seconds",
            "From a request's arrival to the first byte of its answer.",
            ["route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        build = Gauge(
            "counterapp_build_info",
            "Always 1; who this is stands in the labels.",
            ["node", "release", "python", "process"],
            registry=self.registry,
        )
        python = platform.python_version()
        build.labels(settings.node, settings.release, python, str(os.getpid())).set(1)

    def watch(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a number that is read whenever the metrics are."""
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Note an answer."""
        requests, duration = self._of(route, method, status)
        requests.inc()
        duration.observe(seconds)

    def _of(self, route: str, method: str, status: int) -> tuple[Counter, Histogram]:
        # To look numbers up by their labels costs more than to change them.
        kind = (route, method, status)
        if kind not in self._kinds:
            requests = self._requests.labels(route, method, str(status))
            self._kinds[kind] = requests, self._seconds.labels(route)
        return self._kinds[kind]


def register(app: Flask, settings: Settings, store: CounterStore) -> Metrics:
    """Let ``app`` count its answers, and have an application beside it that gives the numbers."""
    metrics = Metrics(settings)
    metrics.watch("counterapp_waiting_hits", "Hits that wait for their write.", store.waiting)
    if settings.backups:
        metrics.registry.register(Backups(settings.backups))

    @app.after_request
    def note(response: Response) -> Response:
        # Only routes and methods that there are become labels: clients cannot make new ones.
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.method in METHODS else "other"
        # ``started`` is the request frame's, which ``app`` puts around every request.
        metrics.count(route, method, response.status_code, time.perf_counter() - g.started)
        return response

    app.extensions[EXTENSION] = _page(metrics)
    return metrics


def _page(metrics: Metrics) -> "WSGIApplication":
    @Request.application
    def answer(asked: Request) -> Response:
        if asked.path != PATH:
            return problem(404, f"There is nothing here but {PATH}.")
        if asked.method not in ("GET", "HEAD"):
            refused = problem(405, f"{asked.method} is not for this path: it has GET, HEAD.")
            refused.headers["Allow"] = "GET, HEAD"
            return refused
        return Response(generate_latest(metrics.registry), content_type=CONTENT_TYPE_LATEST)

    return answer
