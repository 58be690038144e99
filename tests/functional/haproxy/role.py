"""HAProxy as the lb role configures it, in front of real servers."""

import contextlib
import http.client
import http.server
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from lab.config import ROOT
from tests.functional.haproxy.conftest import free_port
from tests.support import certificates
from tests.support.loading import load
from tests.support.waiting import until

#: Seconds for the head, and for the body, in place of the ten of the role's configuration.
DEADLINE = 1
SERVERS = {"web-1": "127.0.0.2", "web-2": "127.0.0.3"}
# The balancer's own address; the VIP is 127.0.0.1.
OWN = "127.0.0.4"
#: Clients at a time.
MAXCONN = 100
#: As `lb:https` of the pillar, switched off.
PLAIN = {"enabled": False, "port": 443, "hsts": 0, "plain": []}
UNLIMITED = dict.fromkeys(("requests", "connections", "streams", "creations"), 0)


def configure(
    folder: Path,
    name: str = "haproxy",
    *,
    limits: dict[str, int] | None = None,
    https: dict[str, Any] | None = None,
    lb: dict[str, Any],
    **context: Any,
) -> Path:
    """Write the configuration, but for its user, its root and its log; return the file.

    ``limits``: of ``lb:limits`` in the pillar; of the others there are none. ``https``: of
    ``lb:https``, which is off unless this says something else. ``lb`` and
    ``context``: what else ``salt/lb/haproxy.sls`` gives its templates; folders are this one.
    """
    bounds = UNLIMITED | (limits or {})
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "salt"),
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    given = {
        "home": folder,
        "server_state": folder / f"{name}.state",
        "answers": folder / f"{name}.map",
        "certificate": folder / "certificate.pem",
        "exempt": [],
        "lb": {**lb, "limits": bounds, "https": PLAIN | (https or {})},
        "limits": bounds,
        **context,
    }
    answers = templates.get_template("lb/files/answers.map.jinja").render(given)
    given["answers"].write_text(answers)
    config = templates.get_template("lb/files/haproxy.cfg.jinja").render(given)
    for line in ("user haproxy", "group haproxy", f"chroot {folder}"):
        assert f"    {line}\n" in config
        config = config.replace(f"    {line}\n", "")
    assert config.count("log /dev/log local0 info\n") == 1
    config = config.replace("log /dev/log", "log stdout format raw")
    path = folder / f"{name}.cfg"
    path.write_text(config)
    return path


class Web(http.server.ThreadingHTTPServer):
    """A web node: it has the files of one release, and may die under a request.

    ``ready`` and ``live``: what checks are told. ``patience``: seconds that it waits for the whole
    of a body before it answers 408.
    """

    daemon_threads = True

    def __init__(self, name: str, port: int) -> None:
        self.files: set[str] = set()
        self.dying = False
        self.ready = self.live = True
        self.patience = 30.0
        self.seen: list[str] = []
        self.heads: list[http.client.HTTPMessage] = []
        self.read = 0
        self.ended = threading.Event()
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/readyz":
                    return self.answer(200 if web.ready and web.live else 503)
                if self.path == "/livez":
                    return self.answer(200 if web.live else 503)
                web.seen.append(self.path)
                web.heads.append(self.headers)
                if web.dying:
                    return None
                if self.path.startswith("/stream/"):
                    return self.stream()
                asked = self.path.startswith("/assets/")
                return self.answer(404 if asked and self.path not in web.files else 200)

            do_DELETE = do_PUT = do_GET

            def do_POST(self) -> None:
                left = int(self.headers.get("Content-Length", 0))
                ends = time.monotonic() + web.patience
                while left:
                    try:
                        self.connection.settimeout(max(0.001, ends - time.monotonic()))
                        came = len(self.rfile.read1(left))
                    except TimeoutError:
                        self.close_connection = True
                        return self.answer(408)
                    if not came:
                        return None
                    web.read += came
                    left -= came
                return self.do_GET()

            def stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    while not web.ended.wait(0.05):
                        self.wfile.write(b"data: 1\n\n")

            def answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, *args: object) -> None:
                """Keep a test's output readable."""

        super().__init__((SERVERS[name], port), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of HAProxy's checks, which hang up as soon as they have the status."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Answer(NamedTuple):
    """What a client was answered."""

    status: int
    head: http.client.HTTPMessage
    body: str


class Balancer:
    """HAProxy as the role configures it, but for its user, its log and its ports.

    ``context``: see ``configure``; with ``servers`` and ``port`` it is in front of these, else of
    servers of its own, ``webs``.
    """

    def __init__(self, folder: Path, https: dict[str, Any] | None = None, **context: Any) -> None:
        self.folder = folder
        self.authority = certificates.Authority()
        self.certificate = folder / "certificate.pem"
        self.certificate.write_text(self.authority.certify("counts.example"))
        self.log = folder / "haproxy.log"
        self.webs = []
        if "servers" not in context:
            web_port = free_port()
            self.webs = [Web(name, web_port) for name in SERVERS]
            context |= {"servers": SERVERS, "port": web_port}
        self._names = list(context["servers"])
        secure_port = free_port()
        if https is not None:
            https = {"enabled": True, "port": secure_port, **https}
        self._lb = {
            "frontend_port": free_port(),
            "metrics_port": free_port(),
            "backend": "web",
            "maxconn": MAXCONN,
            "socket": str(folder / "admin.sock"),
        }
        self._context = {"https": {**PLAIN, "port": secure_port, **(https or {})}, **context}
        self._start()

    port = property(lambda self: self._lb["frontend_port"])
    metrics_port = property(lambda self: self._lb["metrics_port"])
    socket = property(lambda self: self._lb["socket"])
    secure = property(lambda self: self._context["https"]["enabled"])
    secure_port = property(lambda self: self._context["https"]["port"])

    def reload(self, lb: dict[str, Any] | None = None, **context: Any) -> None:
        """Change the configuration and reload, as systemd does on a node.

        ``lb``: keys of the pillar's ``lb`` that stand by themselves; ``https`` and ``limits`` of
        ``context``: keys of these that become others.
        """
        before, asked_at = self.process, self.socket
        self._lb |= lb or {}
        for name in ("https", "limits"):
            context[name] = {**(self._context.get(name) or {}), **context.get(name, {})}
        self._context |= context
        path = self._write()
        state = self.folder / "haproxy.state"
        subprocess.run(
            [ROOT / "salt/lb/files/save-haproxy-state", asked_at, path, state], check=True
        )
        self._start("-sf", str(before.pid))
        before.wait(10)

    def _write(self) -> Path:
        path = configure(self.folder, lb=self._lb, vip="127.0.0.1", address=OWN, **self._context)
        config = path.read_text()
        assert config.count("timeout http-request 10s\n") == 1
        config = config.replace("timeout http-request 10s", f"timeout http-request {DEADLINE}s")
        path.write_text(config)
        return path

    def _start(self, *options: str) -> None:
        path = self._write()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/haproxy", "-db", "-f", path, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
            )
        try:
            until(self.started, 10, "HAProxy serves", wanted=200, ignoring=(ConnectionError,))
        except BaseException:
            self.stop()
            raise

    def started(self) -> int:
        assert self.process.poll() is None, "HAProxy does not start"
        return self.answer("GET", "/", secure=self.secure).status

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        client: str = "127.0.0.1",
    ) -> int:
        """Ask on a new connection from the address ``client`` and return the status."""
        return self.answer(method, path, headers, body, client).status

    def answer(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        client: str = "127.0.0.1",
        secure: bool = False,
    ) -> Answer:
        """Ask on a new connection from the address ``client`` and return the answer."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=30, source_address=(client, 0)
        )
        if secure:
            connection = http.client.HTTPSConnection(
                "127.0.0.1",
                self.secure_port,
                timeout=30,
                source_address=(client, 0),
                context=self.authority.context(),
            )
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def servers(self, backend: str = "web") -> dict[str, bool]:
        """Return which servers HAProxy takes for up."""
        found = load("_utils/haproxy.py").servers(self.socket, backend)
        return {server["name"]: server["up"] for server in found}

    def until_up(self, *names: str, backend: str = "web") -> None:
        """Wait until HAProxy takes these servers for up, and no other."""
        wanted = {name: name in names for name in self._names}
        until(lambda: self.servers(backend), 30, f"up in '{backend}': {names}", wanted=wanted)

    def alive(self) -> bool:
        """Tell whether HAProxy is alive, as keepalived finds out."""
        check = ROOT / "salt/lb/files/check-haproxy"
        return (
            subprocess.run([check, str(self.metrics_port)], stderr=subprocess.PIPE).returncode == 0
        )

    def asked(self, path: str) -> int:
        """Return how often the servers saw a path."""
        return sum(web.seen.count(path) for web in self.webs)

    def dribble(self, path: str, begun: bytes, piece: bytes) -> int:
        """Send the beginning of a body and then piece by piece; return the status of the answer."""
        framing = (
            b"Transfer-Encoding: chunked" if piece.endswith(b"\r\n") else b"Content-Length: 99999"
        )
        head = f"POST {path} HTTP/1.1\r\nHost: counts.example\r\n".encode() + framing
        answered = []
        with socket.create_connection(("127.0.0.1", self.port), timeout=0.1) as client:
            client.sendall(head + b"\r\n\r\n" + begun)

            def look() -> bytes:
                with contextlib.suppress(TimeoutError):
                    answered.append(client.recv(4096))
                    return answered[0]
                client.sendall(piece)
                return b""

            return int(until(look, 15, "the slow client has an answer").split()[1])

    @contextlib.contextmanager
    def stream(self, query: str = "") -> Iterator[http.client.HTTPResponse]:
        """Open a stream of events."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", f"/stream/default/pages{query}")
        with contextlib.closing(connection), connection.getresponse() as response:
            yield response

    def open(self, path: str) -> int:
        """Ask for a stream and leave; return the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        with contextlib.closing(connection), connection.getresponse() as response:
            return response.status

    def stop(self) -> None:
        self.process.terminate()
        self.process.send_signal(signal.SIGCONT)
        self.process.wait(10)
        for web in self.webs:
            web.ended.set()
            web.shutdown()
            web.server_close()
