"""The configuration that the lb role writes, under a real HAProxy in front of real servers."""

import http.client
import http.server
import subprocess
import threading
from pathlib import Path
from typing import Any

import jinja2
import pytest

from lab.config import ROOT
from tests.functional.haproxy.conftest import free_port
from tests.support.waiting import until

PATH = "/api/v1/counters/default/pages/hits"
SERVERS = {"web-1": "127.0.0.2", "web-2": "127.0.0.3"}


class Web(http.server.ThreadingHTTPServer):
    """A web node: it has the files of one release, and may die under a request."""

    daemon_threads = True

    def __init__(self, name: str, port: int) -> None:
        self.files: set[str] = set()
        self.dying = False
        self.seen: list[str] = []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/readyz":
                    return self.answer(200)
                web.seen.append(self.path)
                if web.dying:
                    return None
                asked = self.path.startswith("/assets/")
                return self.answer(404 if asked and self.path not in web.files else 200)

            do_POST = do_GET

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
        self.port, web_port = free_port(), free_port()
        self.webs = [Web(name, web_port) for name in SERVERS]
        template = (ROOT / "salt/lb/files/haproxy.cfg.jinja").read_text()
        lb = {
            "frontend_port": self.port,
            "backend": "web",
            "maxconn": 100,
            "socket": folder / "admin.sock",
        }
        config = jinja2.Template(template, keep_trailing_newline=True).render(
            lb=lb, servers=SERVERS, port=web_port, server_state=folder / "server-state"
        )
        for line in ("    log /dev/log local0 info\n", "    user haproxy\n", "    group haproxy\n"):
            assert line in config
            config = config.replace(line, "")
        (folder / "haproxy.cfg").write_text(config)
        self.process = subprocess.Popen(
            ["/usr/sbin/haproxy", "-db", "-f", folder / "haproxy.cfg"], stdin=subprocess.DEVNULL
        )
        until(self.started, 10, "HAProxy serves", wanted=200, ignoring=(ConnectionError,))

    def started(self) -> int:
        assert self.process.poll() is None, "HAProxy does not start"
        return self.ask("GET", "/")

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> int:
        """Ask on a new connection and return the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def asked(self, path: str) -> int:
        """Return how often the servers saw a path."""
        return sum(web.seen.count(path) for web in self.webs)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        for web in self.webs:
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
    [PATH, PATH.replace("hits", "updates"), "/hit/default/pages", "/update/default/pages?amount=1"],
)
def test_a_hit_with_a_key_goes_to_another_server_when_the_first_dies(balancer, path):
    dying, _alive = balancer.webs
    dying.dying = True
    answers = [balancer.ask("POST", path, {"Idempotency-Key": str(n)}) for n in range(10)]
    assert answers == [200] * 10
    assert balancer.asked(path) > 10


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", PATH, {}),
        ("GET", "/hit/default/pages", {}),
        ("POST", "/api/v1/counters", {"Idempotency-Key": "1"}),
    ],
)
def test_what_may_have_been_done_is_not_sent_twice(balancer, method, path, headers):
    for web in balancer.webs:
        web.dying = True
    assert balancer.ask(method, path, headers) == 502
    assert balancer.asked(path) == 1


def test_numbers_of_a_single_node_are_not_to_be_had(balancer):
    assert balancer.ask("GET", "/metrics") == 404
    assert balancer.asked("/metrics") == 0
