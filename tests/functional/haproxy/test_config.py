"""The configuration that the lb role writes, under a real HAProxy in front of real servers."""

import contextlib
import http.client
import http.server
import json
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest

from lab.config import ROOT
from tests.functional.haproxy.conftest import free_port
from tests.support.loading import load
from tests.support.waiting import until

PATH = "/api/v1/counters/default/pages/hits"
IMPORT = "/api/v1/import"
#: Seconds for the head, and for the body, in place of the ten of the role's configuration.
DEADLINE = 1
SERVERS = {"web-1": "127.0.0.2", "web-2": "127.0.0.3"}
# The balancer's own address; the VIP is 127.0.0.1.
OWN = "127.0.0.4"
#: Clients at a time.
MAXCONN = 100


class Web(http.server.ThreadingHTTPServer):
    """A web node: it has the files of one release, and may die under a request.

    ``patience``: seconds that it waits for the whole of a body before it answers 408.
    """

    daemon_threads = True

    def __init__(self, name: str, port: int) -> None:
        self.files: set[str] = set()
        self.dying = False
        self.ready = True
        self.patience = 30.0
        self.seen: list[str] = []
        self.heads: list[http.client.HTTPMessage] = []
        self.read = 0
        self.ended = threading.Event()
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/readyz":
                    return self.answer(200 if web.ready else 503)
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


class Balancer:
    """HAProxy as the role configures it, but for its user, its log and its ports."""

    def __init__(self, folder: Path) -> None:
        self.port, self.metrics_port, web_port = free_port(), free_port(), free_port()
        self.log = folder / "haproxy.log"
        self.webs = [Web(name, web_port) for name in SERVERS]
        template = (ROOT / "salt/lb/files/haproxy.cfg.jinja").read_text()
        lb = {
            "frontend_port": self.port,
            "metrics_port": self.metrics_port,
            "backend": "web",
            "maxconn": MAXCONN,
            "socket": folder / "admin.sock",
        }
        config = jinja2.Template(template, keep_trailing_newline=True).render(
            lb=lb,
            vip="127.0.0.1",
            address=OWN,
            servers=SERVERS,
            port=web_port,
            home=folder,
            server_state=folder / "server-state",
        )
        for line in ("user haproxy", "group haproxy", f"chroot {folder}"):
            assert f"    {line}\n" in config
            config = config.replace(f"    {line}\n", "")
        assert config.count("log /dev/log local0 info\n") == 1
        config = config.replace("log /dev/log", "log stdout format raw")
        assert config.count("timeout http-request 10s\n") == 1
        config = config.replace("timeout http-request 10s", f"timeout http-request {DEADLINE}s")
        (folder / "haproxy.cfg").write_text(config)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/haproxy", "-db", "-f", folder / "haproxy.cfg"],
                stdin=subprocess.DEVNULL,
                stdout=log,
            )
        until(self.started, 10, "HAProxy serves", wanted=200, ignoring=(ConnectionError,))

    def started(self) -> int:
        assert self.process.poll() is None, "HAProxy does not start"
        return self.ask("GET", "/")

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        client: str = "127.0.0.1",
    ) -> int:
        """Ask on a new connection from the address ``client`` and return the status."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=30, source_address=(client, 0)
        )
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

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

    def stop(self) -> None:
        self.process.terminate()
        self.process.send_signal(signal.SIGCONT)
        self.process.wait(10)
        for web in self.webs:
            web.ended.set()
            web.shutdown()
            web.server_close()


@pytest.fixture
def balancer(tmp_path) -> Any:
    made = Balancer(tmp_path)
    yield made
    made.stop()


def test_a_page_of_either_release_gets_its_files_while_the_servers_differ(balancer):
    old, new = balancer.webs
    old.files, new.files = {"/assets/old.js"}, {"/assets/new.js"}
    for _ in range(20):
        assert balancer.ask("GET", "/assets/old.js") == 200
        assert balancer.ask("GET", "/assets/new.js") == 200
    assert balancer.ask("GET", "/assets/none.js") == 404


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        PATH.replace("hits", "updates"),
        "/hit/default/hits",
        "/hit/pages",
        "/update/default/pages?amount=1",
        "/badge/pages.svg?hit=1",
        "/badge/default/pages.svg?hit=1",
    ],
)
def test_a_hit_with_a_key_goes_to_another_server_when_the_first_dies(balancer, path):
    dying, _alive = balancer.webs
    dying.dying = True
    answers = [balancer.ask("POST", path, {"Idempotency-Key": str(n)}, b"{}") for n in range(10)]
    assert answers == [200] * 10
    assert balancer.asked(path) > 10


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", PATH, {}),
        ("GET", "/hit/default/pages", {}),
        ("GET", "/badge/default/pages.svg?hit=1", {}),
        ("POST", "/api/v1/counters", {"Idempotency-Key": "1"}),
        # Counters may have names that are words of the interface elsewhere.
        ("GET", "/delete/default/hits", {"Idempotency-Key": "1"}),
        ("GET", "/create/default/updates", {"Idempotency-Key": "1"}),
        ("GET", "/reset/hits", {"Idempotency-Key": "1"}),
        ("DELETE", "/api/v1/counters/default/hits", {"Idempotency-Key": "1"}),
        ("DELETE", "/api/v1/operator/counters/default/updates", {"Idempotency-Key": "1"}),
        ("PUT", "/api/v1/counters/hits/updates/value", {"Idempotency-Key": "1"}),
    ],
)
def test_what_may_have_been_done_is_not_sent_twice(balancer, method, path, headers):
    for web in balancer.webs:
        web.dying = True
    assert balancer.ask(method, path, headers) == 502
    assert balancer.asked(path) == 1


def test_while_no_server_is_ready_clients_are_told_so_as_the_app_tells_it(balancer):
    for web in balancer.webs:
        web.ready = False
    until(lambda: balancer.ask("GET", PATH), 20, "no server is ready", wanted=503)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{balancer.port}{PATH}", timeout=10)
    head = refused.value.headers
    assert head["Content-Type"] == "application/problem+json"
    assert head["Retry-After"] == "2"
    assert (head["Cache-Control"], head["Access-Control-Allow-Origin"]) == ("no-store", "*")
    told = json.loads(refused.value.read())
    assert {**told, "detail": ""} == {
        **{"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": ""}
    }
    assert "Try again" in told["detail"]


def test_a_client_asks_the_nodes_only(balancer):
    paths = ["/metrics", "//metrics", "/%6detrics", "/alive"]
    assert [balancer.ask("GET", path) for path in paths] == [200] * 4
    # Python's server takes two slashes at the beginning for one.
    assert [balancer.asked(path) for path in paths] == [2, 0, 1, 1]


def test_haproxys_own_numbers_are_told_on_the_nodes_own_address(balancer):
    url = f"http://{OWN}:{balancer.metrics_port}"
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert f'haproxy_frontend_limit_sessions{{proxy="http"}} {MAXCONN}\n' in text
    for path in ("/", "/alive", "/stats"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}{path}", timeout=10)


def test_it_is_alive_while_clients_have_all_places_and_not_when_it_is_frozen(balancer):
    with contextlib.ExitStack() as stack:
        for _ in range(MAXCONN + 1):
            client = socket.create_connection(("127.0.0.1", balancer.port), timeout=10)
            stack.enter_context(client)
        assert balancer.alive()
        balancer.process.send_signal(signal.SIGSTOP)
        assert not balancer.alive()
        balancer.process.send_signal(signal.SIGCONT)
        assert balancer.alive()
    balancer.process.kill()
    balancer.process.wait(10)
    assert not balancer.alive()


def test_the_log_has_neither_query_nor_headers(balancer):
    with balancer.stream("?admin_key=query-secret") as stream:
        assert stream.readline() == b"data: 1\n"
    for web in balancer.webs:
        web.dying = True
    headers = {"Authorization": "Bearer header-secret", "Cookie": "key=cookie-secret"}
    assert balancer.ask("GET", "/badge/pages?admin_key=query-secret", headers) == 502
    log = until(
        balancer.log.read_text,
        10,
        "both are logged",
        wanted=lambda text: "/stream/default/pages HTTP" in text and "/badge/pages HTTP" in text,
    )
    assert "secret" not in log


@pytest.mark.parametrize(
    ("begun", "piece"),
    [(b"", b"{"), (b"x" * 12_000, b"x"), (b"", b"1\r\nx\r\n")],
    ids=["a byte at a time", "nearly a buffer", "in chunks"],
)
def test_a_body_that_does_not_come_holds_no_server(balancer, begun, piece):
    assert balancer.dribble(IMPORT, begun, piece) == 408
    assert balancer.asked(IMPORT) == 0


def test_a_node_that_waits_no_longer_for_a_long_body_is_heard(balancer):
    for web in balancer.webs:
        web.patience = DEADLINE
    assert balancer.dribble(IMPORT, b"x" * 60_000, b"x") == 408
    assert balancer.asked(IMPORT) == 0
    assert sum(web.read for web in balancer.webs) >= 60_000


def test_a_long_import_arrives_whole(balancer):
    body = b"x" * 2**20
    assert balancer.ask("POST", IMPORT, body=body) == 200
    assert sum(web.read for web in balancer.webs) == len(body)


def test_a_stream_outlives_the_deadline_of_its_request(balancer):
    with balancer.stream() as stream:
        ends = time.monotonic() + 2 * DEADLINE
        while time.monotonic() < ends:
            assert stream.readline() in (b"data: 1\n", b"\n")


@pytest.mark.parametrize(
    "claimed",
    [
        {},
        {"X-Forwarded-For": "6.6.6.6"},
        {"x-forwarded-FOR": "127.0.0.2, 6.6.6.6"},
        {"X_Forwarded_For": "6.6.6.6"},
        {"X-Forwarded_For": "6.6.6.6", "X-Forwarded-Host": "6.6.6.6", "Forwarded": "for=6.6.6.6"},
        {"X-Real-IP": "6.6.6.6", "X_REAL_IP": "6.6.6.6", "X-Forwarded-Proto": "6.6.6.6"},
    ],
)
def test_nobody_has_another_address_than_the_one_that_we_saw(balancer, claimed):
    assert balancer.ask("GET", "/livez", {**claimed, "X-Kept": "7"}, client="127.0.0.9") == 200
    [head] = [head for web in balancer.webs for head in web.heads if "X-Kept" in head]
    assert head.get_all("X-Forwarded-For") == ["127.0.0.9"]
    assert "6.6.6.6" not in str(head)


@pytest.mark.parametrize("status", [200, 502], ids=["an answer", "HAProxy's own"])
def test_before_the_address_moves_every_answer_ends_its_connection(balancer, status):
    haproxy = load("_utils/haproxy.py")
    address = str(balancer.log.parent / "admin.sock")
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=30)
    ) as client:
        if status == 200:
            client.request("GET", PATH)
            kept = client.getresponse()
            kept.read()
            assert not kept.will_close
            assert haproxy.connections(address, "http")["idle"] == 1
        for web in balancer.webs:
            web.dying = status == 502
        haproxy.close_until(address, int(time.time()) + 60)
        client.request("GET", PATH)
        last = client.getresponse()
        last.read()
        assert (last.status, last.will_close) == (status, True)
    assert balancer.ask("GET", PATH) == status
