"""gunicorn's gevent worker, with a stop that leaves nobody waiting at a closed door."""

import contextlib
import gc
import os
import time
from types import SimpleNamespace
from typing import Any

import gevent  # type: ignore[import-untyped]
from gevent import monkey, socket
from gevent.pool import Pool  # type: ignore[import-untyped]
from gevent.server import StreamServer  # type: ignore[import-untyped]
from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

PULSE = 0.25
"""Seconds after which a stop is noticed at the latest."""

LINGER = 2.0
"""Seconds for which a stopping worker keeps idle connections, for a request already on its way."""


class _Idle(gevent.Timeout):  # type: ignore[misc]
    """The time that a connection waits for its next request."""

    def __init__(self, seconds: float, idle: "set[_Idle]") -> None:
        super().__init__(seconds, False)
        self._idle = idle

    def __enter__(self) -> "_Idle":
        self._greenlet = gevent.getcurrent()
        self._idle.add(self)
        super().__enter__()
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> Any:
        self._idle.discard(self)
        return super().__exit__(kind, value, trace)

    def end(self) -> None:
        """Let the time be over now."""
        self._idle.discard(self)
        gevent.kill(self._greenlet, self, block=False)


class _Answer:
    """A connection for one answer, whose head goes out with the beginning of its body.

    gunicorn sends the one and then the other, which costs everybody down to the client twice.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._head = b""
        self._begun = False

    def sendall(self, data: bytes) -> None:
        """Send ``data``; the first of an answer is kept until there is more."""
        if not self._begun:
            self._begun, self._head = True, data
            return
        head, self._head = self._head, b""
        self._client.sendall(head + data)

    def flush(self) -> None:
        """Send what is kept."""
        if self._head:
            self.sendall(b"")

    def __getattr__(self, name: str) -> Any:
        # Whatever else is done with the connection comes after what was sent.
        self.flush()
        return getattr(self._client, name)


class Worker(GeventWorker):  # type: ignore[misc]
    """A worker whose requests are greenlets: one that waits costs nearly nothing.

    It refuses new connections as soon as it is told to stop. gunicorn's own closes its sockets
    first, so that the kernel resets those who connected and were not accepted yet; refused at
    once, a balancer takes a request to another node.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle: set[_Idle] = set()

    def timeout_ctx(self) -> _Idle:
        return _Idle(self.cfg.keepalive if self.alive else LINGER, self._idle)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        answer = _Answer(sock)
        try:
            return super().handle_request(listener_name, req, answer, addr)
        finally:
            answer.flush()

    def run(self) -> None:
        # What was loaded stays: nothing of it is to be looked at again and again for garbage.
        gc.collect()
        gc.freeze()
        pool = Pool(self.worker_connections)
        servers = [self._serve(listener, pool) for listener in self.sockets]
        while self.alive:
            self.notify()
            gevent.sleep(PULSE)
        for server in servers:
            _close_door(server)
        # Streams have no end of their own; their clients come back to another node.
        self.wsgi.extensions["counterapp.watch"].close()
        self._finish(pool)

    def _serve(self, listener: Any, pool: Pool) -> StreamServer:
        listener.setblocking(True)
        # What gunicorn wants of a listener, also when it is closed and its last clients are served.
        name = listener.getsockname()
        named = SimpleNamespace(getsockname=lambda: name)

        def handle(client: Any, address: Any) -> None:
            # gunicorn closes ``client`` at once: where it had not read everything, the kernel would
            # reset the connection, and the client lose its answer.
            kept = socket.socket(fileno=os.dup(client.fileno()))
            try:
                self.handle(named, client, address)
            finally:
                util.close_graceful(kept)

        server = StreamServer(listener, handle=handle, spawn=pool)
        if self.cfg.workers > 1:
            # Shared out evenly, not to whoever wakes first.
            server.max_accept = 1
        server.start()
        return server

    def _finish(self, pool: Pool) -> None:
        begun = time.monotonic()
        while not pool.join(timeout=PULSE):
            self.notify()
            passed = time.monotonic() - begun
            if passed >= LINGER:
                for idle in list(self._idle):
                    idle.end()
            if passed >= self.cfg.graceful_timeout:
                self.log.warning("Cut off after %d s: %d connections", passed, len(pool))
                pool.kill(timeout=1)
                return


def _close_door(server: StreamServer) -> None:
    """Let new connections be refused; those that the kernel has taken already are served."""
    server.stop_accepting()
    plain = monkey.get_original("socket", "socket")
    listener = plain(fileno=server.socket.detach())
    listener.setblocking(False)
    accepted = []
    with contextlib.suppress(BlockingIOError):
        while True:
            accepted.append(listener.accept())
    # With nothing between the last look and this: who connects in between is reset.
    listener.close()
    for client, address in accepted:
        server.do_handle(socket.socket(fileno=client.detach()), address)
