"""A real HAProxy on loopback, in front of real HTTP servers that a test can slow down or fail."""

import contextlib
import http.client
import http.server
import os
import pathlib
import random
import signal
import socket
import socketserver
import subprocess
import sys
import threading

import pytest

from tests.support.loading import ROOT, minion_loader
from tests.support.waiting import until

# What HAProxy says itself is held against what the application says.
sys.path.insert(0, str(ROOT / "app" / "backend" / "src"))


class Backend(http.server.ThreadingHTTPServer):
    """One web server. ``/hold`` answers only when ``let_go`` is set, ``/readyz`` by ``ready``.

    ``/stream`` is answered from when it is asked until ``let_go`` is set, ``/broken`` with 500, and
    ``/missing`` is there on web-2 alone. All but the checks leak: a part ``leak`` gets a 500.
    """

    daemon_threads = True

    def __init__(self, name: str) -> None:
        self.ready = True
        self.held = self.missed = 0
        self.leak = 0.0
        self.let_go = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                backend = self.server
                if self.path == "/hold":
                    backend.held += 1
                    backend.let_go.wait(30)
                    backend.held -= 1
                if self.path == "/stream":
                    return self.stream()
                status = 503 if self.path == "/readyz" and not backend.ready else 200
                leaks = self.path != "/readyz" and random.random() < backend.leak
                if self.path == "/broken" or leaks:
                    status = 500
                if self.path == "/missing" and name != "web-2":
                    status = 404
                    backend.missed += 1
                body = name.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                return None

            def stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    while not self.server.let_go.wait(0.05):
                        self.wfile.write(b"data: 1\n\n")

            def log_message(self, *args: object) -> None:
                """Keep a test's output readable."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of HAProxy's checks, which hang up as soon as they have the status."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Agent(socketserver.ThreadingTCPServer):
    """An agent of one server: it tells HAProxy ``weight``, in percent, when asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.weight, self.asked = 100, 0

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.server.asked += 1
                # HAProxy hangs up on an agent that a busy machine lets answer late.
                with contextlib.suppress(ConnectionError):
                    self.request.sendall(f"{self.server.weight}%\n".encode())

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


def free_port() -> int:
    """Return a TCP port that nobody has on any address, and that no client is given by chance.

    Between the look and its use, a connection of another program could take one of those that the
    kernel gives out.
    """
    given = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", random.randrange(10_000, int(given.split()[0]))))
            return probe.getsockname()[1]


CONFIG = """
global
    stats socket {folder}/admin.sock mode 600 level admin
    stats socket {folder}/user.sock mode 600 level user
    stats socket {folder}/operator.sock mode 600 level operator
    stats socket ipv4@127.0.0.1:{stats_port} level admin
    server-state-file {folder}/server-state
    set-var proc.closing_until int(0)

defaults
    mode http
    option redispatch 1
    retry-on conn-failure 404
    # Without it a check has as long as there is between two: too little for a busy machine.
    timeout check 10s
    timeout connect 5s
    timeout client 40s
    timeout server 40s
    load-server-state-from-file global

frontend front
    bind 127.0.0.1:{port}
    http-after-response set-header Connection close if {{ date,sub(proc.closing_until) lt 0 }}
    default_backend web

backend again
    option httpchk GET /readyz
    default-server weight 100 check inter 100ms fall 2 rise 2
{servers}

backend web
    balance roundrobin
    option httpchk GET /readyz
    default-server weight 100 check inter 100ms fall 2 rise 2
{servers}

backend other
    server alone 127.0.0.1:{port}

backend agent
    server told 127.0.0.1:{port} weight 100 agent-check agent-port {agent_port} agent-inter 100ms
"""


class Balancer:
    """HAProxy with its backends, and Salt's loaders configured for its socket."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.port, self.stats_port = free_port(), free_port()
        self.servers = {name: Backend(name) for name in ("web-1", "web-2")}
        self.agent = Agent()
        self.config = folder / "haproxy.cfg"
        lines = [
            f"    server {name} 127.0.0.1:{backend.port}" for name, backend in self.servers.items()
        ]
        self.config.write_text(
            CONFIG.format(
                folder=folder,
                port=self.port,
                stats_port=self.stats_port,
                agent_port=self.agent.server_address[1],
                servers="\n".join(lines),
            )
        )
        self.socket = str(folder / "admin.sock")
        self.process: subprocess.Popen | None = None
        self.loaders = minion_loader(folder / "salt", **{"haproxy.socket": self.socket})
        self.start()

    def start(self) -> None:
        """Start HAProxy, or replace the running one as a reload does."""
        old = self.process
        replace = ["-sf", str(old.pid)] if old else []
        with (self.folder / "haproxy.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/haproxy", "-db", "-f", str(self.config), *replace],
                stdout=log,
                stderr=log,
            )
        pid = self.process.pid
        until(
            self._info,
            10,
            f"HAProxy answers as process {pid}",
            wanted=lambda info: f"Pid: {pid}\n" in info,
            ignoring=(OSError,),
        )
        if old:
            old.wait(10)

    def _info(self) -> str:
        assert self.process is not None
        log = (self.folder / "haproxy.log").read_text()
        assert self.process.poll() is None, f"HAProxy did not start: {log}"
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.socket)
            probe.sendall(b"show info\n")
            return probe.recv(65536).decode()

    def call(self, function: str, *args, **kwargs):
        """Call a function of the execution module."""
        return self.loaders.modules[f"haproxy.{function}"](*args, **kwargs)

    def get(self, path: str = "/") -> str:
        """Ask through HAProxy and return the name of the server that answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=35)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200, answer.status
            return answer.read().decode()
        finally:
            connection.close()

    @contextlib.contextmanager
    def held_session(self, name: str):
        """Hold one session of a server open; yields its backend, whose ``let_go`` ends it."""
        backend = self.servers[name]
        answers = []
        # Round robin: the request is sent until it reaches the server that is meant.
        others = [each for each in self.servers.values() if each is not backend]
        for other in others:
            other.let_go.set()

        def hold() -> None:
            while name not in answers:
                answers.append(self.get("/hold"))

        thread = threading.Thread(target=hold)
        thread.start()
        until(lambda: backend.held, 10, f"a session is held on {name}")
        try:
            yield backend
        finally:
            backend.let_go.set()
            thread.join(10)
            for each in self.servers.values():
                each.let_go.clear()
        # The client of a session that was waited for got its answer.
        assert answers[-1] == name

    @contextlib.contextmanager
    def streaming(self):
        """Have a stream of events; yields its answer, to be read line by line."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=35)
        try:
            connection.request("GET", "/stream")
            with connection.getresponse() as answer:
                yield answer
        finally:
            connection.close()

    def reset(self) -> None:
        """Put every server back up and in rotation."""
        self.agent.weight = 100
        for backend in self.servers.values():
            backend.ready, backend.leak = True, 0.0
        for place in ("web", "again"):
            for entry in self.call("servers", place):
                name = entry["name"]
                if entry["weight"] != 100:
                    self.call("set_weight", place, name, "100%")
                self.call("set_health_checks", place, name, True)
                if entry["admin"] != "ready":
                    self.call("ready", place, name)
                self.call("wait_up", place, name)
        self.call("set_agent_checks", "agent", "told", True)
        self.call("enable_frontend", "front")
        self.call("closing", 0)

    def stop(self) -> None:
        """Stop HAProxy and its backends."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        for backend in self.servers.values():
            backend.let_go.set()
        for server in (*self.servers.values(), self.agent):
            server.shutdown()
            server.server_close()


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """One HAProxy for all tests of this folder."""
    if not os.access("/usr/sbin/haproxy", os.X_OK):
        pytest.fail("haproxy is not installed: apt-get install haproxy")
    # Paths of unix sockets are short.
    balancer = Balancer(tmp_path_factory.mktemp("lb"))
    yield balancer
    balancer.stop()


@pytest.fixture
def balancer(running):
    """HAProxy with both servers up and in rotation."""
    (running.folder / "server-state").unlink(missing_ok=True)
    running.reset()
    return running
