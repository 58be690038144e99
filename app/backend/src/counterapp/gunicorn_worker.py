"""gunicorn's gevent worker, with a stop that leaves nobody waiting at a closed door."""

import contextlib
import copy
import gc
import io
import math
import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent  # type: ignore[import-untyped]
import orjson
from gevent import monkey, socket
from gevent.pool import Pool  # type: ignore[import-untyped]
from gevent.server import StreamServer  # type: ignore[import-untyped]
from gunicorn import SERVER, util  # type: ignore[import-untyped]
from gunicorn.http.body import Body  # type: ignore[import-untyped]
from gunicorn.http.errors import LimitRequestHeaders  # type: ignore[import-untyped]
from gunicorn.http.message import Request  # type: ignore[import-untyped]
from gunicorn.http.parser import RequestParser  # type: ignore[import-untyped]
from gunicorn.http.wsgi import create  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]
from werkzeug.exceptions import RequestTimeout

from counterapp import metrics, presence, shortcut
from counterapp.clients import HEADER, Client

PULSE = 0.25
"""Seconds after which a stop is noticed at the latest."""

LINGER = 2.0
"""Seconds for which a stopping worker keeps idle connections, for a request already on its way."""


HEAD_SECONDS = 10.0
"""Seconds from the first byte of a request to the end of its head."""

BODY_SECONDS = 10.0
"""Seconds from the end of a request's head to the end of its body."""

UNREAD_SECONDS = 20
"""Seconds for which a client may take nothing of what it is answered."""

MOST_HEAD = 32 * 1024
"""Bytes of a head; gunicorn looks at all that there is of one with each piece that comes."""

READERS = 8
"""Readers of the metrics at a time, who have places of their own: the numbers of a worker that has
no place left are those that are wanted most."""


class _Wait(BaseException):
    """The time that a connection waits for something of its client.

    :param until: when it is over, a ``time.monotonic()`` value.
    :param waiting: what each connection waits for; whoever looks after them ends it. Of waits
        within each other it is the innermost.
    """

    def __init__(self, until: float, waiting: "dict[Any, _Wait]") -> None:
        super().__init__()
        self.until = until
        self._waiting = waiting

    def __enter__(self) -> "_Wait":
        self._greenlet = gevent.getcurrent()
        self._outer = self._waiting.get(self._greenlet)
        self._waiting[self._greenlet] = self
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> bool:
        if self._outer is None:
            del self._waiting[self._greenlet]
        else:
            self._waiting[self._greenlet] = self._outer
        return value is self

    def end(self) -> None:
        """Let the time be over."""
        gevent.get_hub().loop.run_callback(self._end)

    def _end(self) -> None:
        # What was waited for may have come since.
        if self._waiting.get(self._greenlet) is self:
            self._greenlet.throw(self)


class _Request(Request):  # type: ignore[misc]
    """A request on the long way, whose head is bounded as a whole."""

    def read_into(self, unreader: Any, buf: bytearray, stop: bool = False) -> None:
        super().read_into(unreader, buf, stop)
        if len(buf) > MOST_HEAD:
            raise LimitRequestHeaders(f"more than {MOST_HEAD} bytes")


class _Body(Body):  # type: ignore[misc]
    """A request's body that has to come in time.

    :param bodies: see :class:`_Wait`.
    """

    def __init__(self, request: Request, bodies: dict[Any, _Wait]) -> None:
        super().__init__(request.body.reader)
        self._request = request
        self._until = time.monotonic() + BODY_SECONDS
        self._bodies = bodies
        self.answered = False

    def _read_reader(self, size: int) -> bytes:
        with _Wait(self._until, self._bodies):
            found: bytes = super()._read_reader(size)
            return found
        # The rest of it cannot be told from a next request.
        self.failed = True
        self._request.force_close()
        if self.answered:
            raise TimeoutError
        raise RequestTimeout(f"The body has to come whole within {BODY_SECONDS:g} s.")


class _PlainHit:
    """A request on the short way, as far as gunicorn's loop over a connection looks at it.

    :param parsed: returns it as gunicorn knows requests.
    """

    proxy_protocol_info = None
    body = io.BytesIO()

    def __init__(self, hit: shortcut.Hit, parsed: Callable[[], Request]) -> None:
        self.hit = hit
        self.parsed = parsed
        self.started = time.perf_counter()

    def should_close(self) -> bool:
        """Tell whether the client wants to be left after the answer."""
        return False


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


class _Discreet:
    """A worker's log about a request that failed: how it did, and nothing of what it said.

    gunicorn quotes the lines that it cannot read, or else the address that was asked for, and an
    admin key may stand in either.
    """

    def __init__(self, log: Any, error: BaseException) -> None:
        self._log = log
        self._error = error

    def warning(self, _message: str) -> None:
        """Note a request that was none."""
        self._log.warning("Invalid request: %s", type(self._error).__name__)

    def exception(self, *_message: str) -> None:
        """Note a request that could not be answered."""
        self._log.error("Error handling a request", exc_info=self._error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class Worker(GeventWorker):  # type: ignore[misc]
    """A worker whose requests are greenlets: one that waits costs nearly nothing.

    It refuses new connections as soon as it is told to stop. gunicorn's own closes its sockets
    first, so that the kernel resets those who connected and were not accepted yet; refused at
    once, a balancer takes a request to another node.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle: dict[Any, _Wait] = {}
        self._bodies: dict[Any, _Wait] = {}
        self._head = 0, b""
        own = os.environ.get("COUNTERAPP_METRICS_BIND")
        self._metrics_address = util.parse_address(own) if own else None
        self._metrics_name: Any = None
        # What its parsers make of what was received.
        RequestParser.mesg_class = self._request

    def timeout_ctx(self) -> _Wait:
        seconds = self.cfg.keepalive if self.alive else LINGER
        return _Wait(time.monotonic() + seconds, self._idle)

    def _request(self, config: Any, unreader: Any, address: Any, number: int) -> Any:
        def parsed() -> Request:
            unreader.unread(data)
            return _Request(config, unreader, address, number)

        try:
            data = unreader.read()
            hit = shortcut.plain_hit(data)
            if hit is not None:
                return _PlainHit(hit, parsed)
            with _Wait(time.monotonic() + HEAD_SECONDS, self._idle):
                return parsed()
            with gevent.Timeout(PULSE, False):
                unreader.sock.sendall(_TOO_LATE)
        except TimeoutError:
            # The kernel's word for a client that took nothing more: there is nobody to be told.
            pass
        raise StopIteration

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        plain = isinstance(req, _PlainHit)
        if listener_name == self._metrics_name:
            return self._tell(listener_name, req.parsed() if plain else req, sock, addr)
        forwarded = req.hit.forwarded if plain else _forwarded(req)
        limits = self.wsgi.extensions["counterapp.limits"]
        client = limits.clients.of(addr[0], forwarded)
        if not limits.places.take(client.group):
            with shortcut.failed(limits.crowded(), time.perf_counter()):
                return self._answer(listener_name, req.parsed() if plain else req, sock, addr)
        try:
            if plain and self.alive:
                return self._count(listener_name, req, sock, addr, client)
            # That we leave is gunicorn's business to tell.
            return self._answer(listener_name, req.parsed() if plain else req, sock, addr)
        except TimeoutError:
            raise StopIteration from None
        finally:
            limits.places.leave(client.group)

    def _count(
        self, listener_name: Any, req: _PlainHit, sock: Any, addr: Any, client: Client
    ) -> Any:
        way = self.wsgi.extensions[shortcut.EXTENSION]
        try:
            said = way.answer(req.hit, client, req.started)
        except gevent.GreenletExit:
            # Cut off at the end of a stop: nothing was promised, and nothing is said.
            raise StopIteration from None
        except Exception as error:
            with shortcut.failed(error, req.started):
                return self._answer(listener_name, req.parsed(), sock, addr)
        answer = self._begin() + said
        # At once, nearly always; ``sendall`` asks the kernel for the size of its buffer first.
        sent = sock.send(answer)
        if sent < len(answer):
            sock.sendall(answer[sent:])
        return True

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Any) -> None:
        discreet = copy.copy(self)
        discreet.log = _Discreet(self.log, exc)
        super(Worker, discreet).handle_error(req, client, addr, exc)

    def _tell(self, listener_name: Any, req: Request, sock: Any, addr: Any) -> Any:
        """Answer what came by the metrics' listener, where nobody keeps a place."""
        answer = _Answer(sock)
        response, environ = create(req, answer, addr, listener_name, self.cfg)
        response.force_close()
        for piece in self.wsgi.extensions[metrics.EXTENSION](environ, response.start_response):
            response.write(piece)
        response.close()
        answer.flush()
        raise StopIteration

    def _answer(self, listener_name: Any, req: Request, sock: Any, addr: Any) -> Any:
        answer = _Answer(sock)
        body = req.body = _Body(req, self._bodies)
        try:
            return super().handle_request(listener_name, req, answer, addr)
        finally:
            body.answered = True
            answer.flush()

    def _begin(self) -> bytes:
        """Return the beginning of what is answered to a plain hit."""
        second = int(time.time())
        if second != self._head[0]:
            lines = ["HTTP/1.1 200 OK", f"Server: {SERVER}", f"Date: {util.http_date(second)}"]
            lines += ["Connection: keep-alive", ""]
            self._head = second, "\r\n".join(lines).encode()
        return self._head[1]

    def run(self) -> None:
        # What was loaded stays: nothing of it is to be looked at again and again for garbage.
        gc.collect()
        gc.freeze()
        pool = Pool(self.worker_connections)
        doors, metrics_door = [], None
        for listener, address in zip(self.sockets, self.cfg.address, strict=True):
            if address == self._metrics_address:
                self._metrics_name = listener.getsockname()
                metrics_door = self._serve(listener, Pool(READERS))
            else:
                doors.append(self._serve(listener, pool))
        while self.alive:
            self.notify()
            _end(self._idle, time.monotonic())
            _end(self._bodies, time.monotonic())
            gevent.sleep(PULSE)
        for door in doors:
            _close_door(door)
        # Streams have no end of their own; their clients come back to another node.
        self.wsgi.extensions["counterapp.watch"].close()
        self._finish(pool)
        if metrics_door:
            metrics_door.stop(timeout=0)

    def _serve(self, listener: Any, pool: Pool) -> StreamServer:
        listener.setblocking(True)
        # What gunicorn wants of a listener, also when it is closed and its last clients are served.
        name = listener.getsockname()
        named = SimpleNamespace(getsockname=lambda: name)

        def handle(client: Any, address: Any) -> None:
            # gunicorn closes ``client`` at once: where it had not read everything, the kernel would
            # reset the connection, and the client lose its answer.
            kept = socket.socket(fileno=os.dup(client.fileno()))
            presence.gone.set(lambda: presence.hung_up(kept.fileno()))
            try:
                kept.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
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
            now = time.monotonic()
            passed = now - begun
            # Those that began before the stop are given no more time than those after it.
            _end(self._idle, math.inf if passed >= LINGER else now)
            _end(self._bodies, now)
            if passed >= self.cfg.graceful_timeout:
                self.log.warning("Cut off after %d s: %d connections", passed, len(pool))
                pool.kill(timeout=1)
                return


def _end(waiting: dict[Any, _Wait], moment: float) -> None:
    """End what was to be over at a moment."""
    for each in list(waiting.values()):
        if each.until <= moment:
            each.end()


def _forwarded(request: Request) -> str:
    """Return the last ``X-Forwarded-For`` of a request."""
    name = HEADER.upper()
    return next((value for field, value in reversed(request.headers) if field == name), "")


def _too_late() -> bytes:
    detail = f"The head has to come whole within {HEAD_SECONDS:g} s."
    members = {"type": "about:blank", "title": "Request Timeout", "status": 408, "detail": detail}
    body = orjson.dumps(members)
    fields = f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    head = "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\n"
    return f"{head}{fields}\r\n".encode() + body


_TOO_LATE = _too_late()
"""What is said to a client whose head did not come, before there is a request to answer."""


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
