"""``/stream/<namespace>/<key>``: a counter's value as it changes, as server-sent events.

- At once, and then for each change: ``id: 12``, ``data: {"value": 12, "node": "web-1"}``; ``node``
  is the web node whose hits it was, or null. Where there is no such counter, the stream waits for
  its first hit: a browser that is answered with 404 gives up for good.
- ``event: stale``: the database cannot be asked, so that the value may have changed meanwhile. The
  next value ends this.
- ``event: removed``: the counter is no more, and the stream ends.
- A comment when nothing happened for a while, so that nobody on the way takes the connection for
  dead.
"""

import json
import random
import time
from collections.abc import Iterator

from flask import Blueprint, Response, g, request

from counterapp import inputs
from counterapp.counters import (
    DEFAULT_NAMESPACE,
    SHARED,
    CounterStore,
    Key,
    StoreError,
)
from counterapp.problems import problem
from counterapp.watch import ClientFull, Full, Subscription, Watch

HEARTBEAT = 15.0
"""Seconds of silence after which a sign of life is sent, and the value looked up."""

SETTLED = 1.0
"""Seconds after its begin from which on a stream relies on the changes that it is told of.

Before, the first of them may be older than the value that it began with, or have been missed.
"""

RETRY = 500
"""Milliseconds after which a browser connects again."""

LIFE = 20.0
"""Seconds after which a stream ends, for its client to come again, to whichever node takes it then.

Less than a rollout waits for a drained node to be free of sessions (``web:drain_timeout``). Up to a
fifth less for each stream, so that those which came together do not all come again together.
"""


def blueprint(watch: Watch, store: CounterStore) -> Blueprint:
    """Return the routes of the streams."""
    streams = Blueprint("stream", __name__)

    @streams.get("/stream/<name>", strict_slashes=False)
    @streams.get("/stream/<namespace>/<name>", strict_slashes=False)
    def stream(name: str, namespace: str = DEFAULT_NAMESPACE) -> Response:
        key = inputs.key(namespace, name)
        if request.method == "HEAD":
            _value(store, key)
            return Response(mimetype="text/event-stream")
        try:
            subscription = watch.open(key, g.client.group)
        except ClientFull:
            return problem(
                429, "This client has as many streams on this node as one may have: close some."
            )
        except Full:
            return problem(503, "This node has as many streams as it can serve. Try again later.")
        try:
            # After the subscription, so that no change falls between the two.
            events = Events(watch, store, subscription, _value(store, key))
        except BaseException:
            watch.drop(subscription)
            raise
        response = Response(events, mimetype="text/event-stream")
        # Proxies of nginx' kind would wait for more before they pass anything on.
        response.headers["X-Accel-Buffering"] = "no"
        return response

    return streams


class Events(Iterator[bytes]):
    """What one client is sent. To be closed in the end, begun or not."""

    def __init__(
        self, watch: Watch, store: CounterStore, subscription: Subscription, value: int | None
    ) -> None:
        self._watch = watch
        self._store = store
        self._subscription = subscription
        self._sent: int | None = None
        self._first = value
        self._begun = False
        self._stale = False
        self._settled = time.monotonic() + SETTLED
        self._ends = time.monotonic() + LIFE * random.uniform(0.8, 1)

    def __next__(self) -> bytes:
        if not self._begun:
            self._begun = True
            return f"retry: {RETRY}\n".encode() + self._present()
        while not self._subscription.over:
            settling = time.monotonic() < self._settled
            left = self._ends - time.monotonic()
            if left <= 0:
                break
            change = self._subscription.wait(min(SETTLED if settling else HEARTBEAT, left))
            if self._subscription.over:
                break
            node = change.node if change else None
            if change is None or settling:
                try:
                    value = _value(self._store, self._subscription.key)
                except StoreError:
                    # Who waits for a first hit knows no value that could be stale.
                    if self._stale or self._sent is None:
                        return b":\n\n"
                    self._stale = True
                    return b"event: stale\ndata: {}\n\n"
            else:
                value = change.value
            if value is None and self._sent is not None:
                return self._removed()
            if value is not None and (value != self._sent or self._stale):
                return self._event(value, node)
            if change is None and not settling:
                return b":\n\n"
        raise StopIteration

    def close(self) -> None:
        """Let the place be another's."""
        self._watch.drop(self._subscription)

    def _present(self) -> bytes:
        # A comment, so that all on the way pass on that the stream is open.
        return b":\n\n" if self._first is None else self._event(self._first, None)

    def _event(self, value: int, node: str | None) -> bytes:
        self._sent, self._stale = value, False
        data = json.dumps({"value": value, "node": node})
        return f"id: {value}\ndata: {data}\n\n".encode()

    def _removed(self) -> bytes:
        self._subscription.end()
        return b'event: removed\ndata: {"value": null}\n\n'


def _value(store: CounterStore, key: Key) -> int | None:
    counter = store.read(key)
    if counter is not None:
        return counter.value
    # The service's own counter is there from the start.
    return 0 if key == Key(DEFAULT_NAMESPACE, SHARED) else None
