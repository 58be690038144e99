"""The short way of a plain hit, past the server's parser and Flask, which cost more than counting.

A plain hit is ``POST /api/v1/counters/<namespace>/<key>/hits`` with nothing that would need a
closer look: no body, no query, no ``Idempotency-Key``, and a head that came whole and is in perfect
order. Everything else goes on to gunicorn and Flask, and so does a hit that failed, to be answered
where all errors are. What the short way answers is what Flask would have, to the byte;
tests/unit/app/test_shortcut.py and tests/functional/app/test_worker.py compare the two.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import orjson
from flask import Flask

from counterapp import cors, v1
from counterapp.clients import Client
from counterapp.counters import Key
from counterapp.frame import NO_STORE, Frame
from counterapp.limits import Limits
from counterapp.metrics import Metrics
from counterapp.settings import Settings

EXTENSION = "counterapp.shortcut"
"""What the worker finds the short way by among the application's extensions."""

ROUTE = "/api/v1/counters/<namespace>/<name>/hits"
LONGEST = 8192
"""Bytes of a plain hit: what gunicorn takes at a time, and less than its limits on heads allow."""

_NAME = rb"([A-Za-z0-9_.-]{3,64})"
# Of the fields only what nobody could read in two ways: whole lines of printable ASCII. What was
# matched is never given back, so that the time is in proportion to the length, good or bad.
_HEAD = re.compile(
    rb"POST /api/v1/counters/" + _NAME + rb"/" + _NAME + rb"/hits HTTP/1\.1\r"
    rb"((?:\n[A-Za-z0-9-]++:[ -~]*+\r){1,50})\n\r\n"
)
# What is not named here changes nothing about how a hit is answered.
_TELLING = re.compile(
    rb"\n(host|content-length|connection|x-request-id|x-forwarded-for|transfer-encoding|upgrade"
    rb"|expect|idempotency-key|if-match|if-none-match|if-unmodified-since"
    rb"|content-type|sec-purpose|purpose|x-purpose|x-moz): *+([^\r]*+)",
    re.IGNORECASE,
)

_failure: ContextVar[tuple[float, Exception] | None] = ContextVar("failure", default=None)

# As Flask writes JSON.
_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


class Hit(NamedTuple):
    """A plain hit."""

    key: Key
    request_id: str
    """What the client calls its request; empty if it has no name for it."""
    forwarded: str
    """What ``X-Forwarded-For`` says; empty without it."""


def plain_hit(data: bytes) -> Hit | None:
    """Return the hit that ``data`` is from its first byte to its last, None for anything else."""
    head = _HEAD.fullmatch(data) if len(data) <= LONGEST else None
    if head is None:
        return None
    found = _TELLING.findall(head[3])
    fields = {name.lower(): value.rstrip(b" ") for name, value in found}
    if (
        len(fields) < len(found)
        or not fields.pop(b"host", b"")
        or fields.pop(b"content-length", b"0") != b"0"
        or fields.pop(b"connection", b"keep-alive").lower() != b"keep-alive"
    ):
        return None
    # Of no meaning to a hit, but a head that has it twice is no good head.
    fields.pop(b"content-type", b"")
    request_id = fields.pop(b"x-request-id", b"").decode()
    forwarded = fields.pop(b"x-forwarded-for", b"").decode()
    if fields:
        return None
    return Hit(Key(head[1].decode(), head[2].decode()), request_id, forwarded)


class Shortcut:
    """The short way of one application."""

    def __init__(self, settings: Settings, limits: Limits, frame: Frame, metrics: Metrics) -> None:
        self._settings = settings
        self._limits = limits
        self._frame = frame
        self._metrics = metrics
        fields = [
            ("Content-Type", "application/json"),
            NO_STORE,
            *cors.headers("/api/", "POST").items(),
        ]
        self._fields = "".join(f"{name}: {value}\r\n" for name, value in fields)

    def answer(self, hit: Hit, client: Client, started: float) -> bytes:
        """Count a hit and return what is said to it, from the status line's end on.

        :param client: who sent it.
        :param started: when it came, a ``time.perf_counter()`` value.
        :raises StoreError: it is not, or perhaps not, counted; see ``failed``.
        """
        counted = self._limits.hit(client, hit.key)
        answer = v1.changed(self._settings, hit.key, counted.value, replayed=counted.replayed)
        body = orjson.dumps(answer, option=_JSON)
        request_id = self._frame.request_id(hit.request_id)
        named = "".join(
            f"{name}: {value}\r\n" for name, value in self._frame.headers(request_id).items()
        )
        self._metrics.count(ROUTE, "POST", 200, time.perf_counter() - started)
        self._frame.log(
            started=started,
            method="POST",
            path=f"/api/v1/counters/{hit.key}/hits",
            status=200,
            request_id=request_id,
            client=client.address,
        )
        return f"Content-Length: {len(body)}\r\n{self._fields}{named}\r\n".encode() + body


@contextmanager
def failed(error: Exception, started: float) -> Iterator[None]:
    """Let Flask answer the request that it is given in here as one that failed so.

    :param started: when it came, a ``time.perf_counter()`` value.
    """
    token = _failure.set((started, error))
    try:
        yield
    finally:
        _failure.reset(token)


def started() -> float:
    """Return when the request that Flask is at came, wherever it came first."""
    failure = _failure.get()
    return time.perf_counter() if failure is None else failure[0]


def register(
    app: Flask, settings: Settings, limits: Limits, frame: Frame, metrics: Metrics
) -> None:
    """Give ``app`` a short way. To be called when all else is registered."""

    @app.before_request
    def fail() -> None:
        if failure := _failure.get():
            # Asked again, the store might have counted it.
            raise failure[1]

    app.extensions[EXTENSION] = Shortcut(settings, limits, frame, metrics)
