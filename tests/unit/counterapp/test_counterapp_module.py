"""Links, records and HTTP of the module, on real folders and a real server."""

import http.server
import json
import os
import threading
import time

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

counterapp = load("_modules/counterapp.py")
release = load("_utils/release.py")


@pytest.fixture
def settings():
    return {}


@pytest.fixture
def configure_loader_modules(settings):
    functions = ("check_version", "inspect", "unpack", "installed_size", "require_space")
    return {
        counterapp: {
            "__salt__": {"config.get": lambda key, default="": settings.get(key, default)},
            "__utils__": {f"release.{name}": getattr(release, name) for name in functions},
            "__opts__": {"id": "web-1"},
        }
    }


@pytest.fixture
def root(tmp_path, settings):
    """A root with four installed releases, 1.0.0 the oldest."""
    root = tmp_path / "opt"
    root.mkdir(mode=0o755)
    settings["counterapp.root"] = str(root)
    for number, version in enumerate(("1.0.0", "1.1.0", "1.2.0", "1.10.0")):
        folder = root / "releases" / version
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"commit": version}))
        os.utime(folder / "manifest.json", (1_000_000 + number, 1_000_000 + number))
    return root


def test_nothing_is_there_before_the_first_release(tmp_path, settings):
    settings["web:root"] = str(tmp_path / "none")
    assert counterapp.releases() == []
    assert counterapp.current() is None
    assert counterapp.previous() is None
    assert not (tmp_path / "none").exists()


def test_releases_are_listed_by_installation(root):
    counterapp.activate("1.0.0")
    counterapp.activate("1.2.0")
    (root / "releases" / ".new-1.3.0-abc").mkdir()
    (root / "releases" / "stray").mkdir()
    assert counterapp.releases() == [
        {
            "version": version,
            "commit": version,
            "current": version == "1.2.0",
            "previous": version == "1.0.0",
            "installed": f"1970-01-12T13:46:4{number}+00:00",
        }
        for number, version in enumerate(("1.0.0", "1.1.0", "1.2.0", "1.10.0"))
    ]


def test_activation_switches_and_remembers(root):
    assert counterapp.activate("1.0.0") == {"version": "1.0.0", "previous": None, "changed": True}
    assert (root / "current").readlink().as_posix() == "releases/1.0.0"
    assert counterapp.previous() is None
    counterapp.activate("1.1.0")
    assert counterapp.previous() == "1.0.0"
    again = counterapp.activate("1.1.0")
    assert again == {"version": "1.1.0", "previous": "1.1.0", "changed": False}
    assert counterapp.previous() == "1.0.0"


def test_taking_a_release_back_keeps_the_record(root):
    counterapp.activate("1.0.0")
    counterapp.activate("1.1.0")
    counterapp.activate("1.2.0")
    counterapp.activate("1.1.0", remember=False)
    assert counterapp.previous() == "1.0.0"


def test_killed_between_record_and_switch(root, monkeypatch):
    counterapp.activate("1.0.0")
    counterapp.activate("1.1.0")
    point = counterapp._point

    def killed(link, target):
        if link.name == "current":
            raise KeyboardInterrupt
        point(link, target)

    monkeypatch.setattr(counterapp, "_point", killed)
    with pytest.raises(KeyboardInterrupt):
        counterapp.activate("1.2.0")
    assert counterapp.current() == "1.1.0"
    assert counterapp.previous() == "1.0.0"


def test_leftover_of_a_killed_switch_is_no_obstacle(root):
    (root / ".current.new").symlink_to("releases/gone")
    counterapp.activate("1.0.0")
    assert counterapp.current() == "1.0.0"
    assert not (root / ".current.new").is_symlink()


def test_only_installed_releases_are_activated(root):
    with pytest.raises(CommandExecutionError, match="not installed under .*: 1.0.0, 1.1.0"):
        counterapp.activate("2.0.0")
    with pytest.raises(CommandExecutionError, match="is no release version"):
        counterapp.activate("../../etc")
    assert counterapp.current() is None


def test_removed_release_is_no_longer_the_previous_one(root):
    counterapp.activate("1.0.0")
    counterapp.activate("1.1.0")
    assert counterapp.remove("1.0.0") == {"version": "1.0.0", "removed": True}
    assert counterapp.previous() is None
    assert counterapp.remove("1.0.0") == {"version": "1.0.0", "removed": False}
    left = sorted(entry.name for entry in (root / "releases").iterdir())
    assert left == ["1.1.0", "1.10.0", "1.2.0"]


def test_links_that_are_not_ours_are_named(root):
    (root / "current").mkdir()
    with pytest.raises(CommandExecutionError, match="is not a link but a file or folder"):
        counterapp.current()
    (root / "current").rmdir()
    (root / "current").symlink_to("/etc")
    with pytest.raises(CommandExecutionError, match="points to /etc"):
        counterapp.current()


def test_damaged_manifest_is_named(root):
    (root / "releases" / "1.0.0" / "manifest.json").write_text("{")
    with pytest.raises(CommandExecutionError, match=r"1\.0\.0/manifest.json is damaged"):
        counterapp.releases()


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (1, ["1.1.0", "1.2.0"]),
        (2, ["1.1.0", "1.2.0"]),
        (3, ["1.1.0"]),
        (4, []),
        (9, []),
    ],
)
def test_what_is_superseded(root, keep, expected):
    counterapp.activate("1.0.0")
    counterapp.activate("1.10.0")
    assert counterapp.superseded(keep) == expected


@pytest.mark.parametrize("keep", [0, -1, True, "3", 1.5])
def test_keep_is_a_number_of_releases(root, keep):
    with pytest.raises(CommandExecutionError, match="keep must be a whole number"):
        counterapp.superseded(keep)


def test_root_must_be_absolute():
    with pytest.raises(CommandExecutionError, match="absolute path"):
        counterapp.releases(root="opt/counterapp")


@pytest.mark.parametrize(
    ("configured", "given", "expected"),
    [
        ({}, None, "http://127.0.0.1:8000"),
        ({"web:port": 9000}, None, "http://127.0.0.1:9000"),
        ({"topology:nodes:web-1:address": "10.0.0.1"}, None, "http://10.0.0.1:8000"),
        ({"counterapp.url": "http://a:1/"}, None, "http://a:1"),
        ({"counterapp.url": "http://a:1/"}, "http://b:2", "http://b:2"),
    ],
)
def test_where_the_app_is_asked(settings, configured, given, expected):
    settings.update(configured)
    assert counterapp._url(given) == expected


@pytest.fixture
def server():
    """A server whose answers a test sets: path to (status, headers, body bytes)."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        answers: dict = {}
        seen: list = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.seen.append((self.command, self.path))
            status, headers, body = self.server.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args):
            """Keep a test's output readable."""

    with Server(("127.0.0.1", 0), Handler) as running:
        running.answers, running.seen = {}, []
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


def _json(**body):
    return json.dumps(body).encode()


WHO = {"X-Release": "1.0.0", "X-Served-By": "web-1"}


METRICS = b"""# HELP counterapp_requests_total Requests answered.
counterapp_requests_total{method="POST",route="/hit/<name>",status="200"} 3.0
counterapp_requests_total{method="GET",route="none",status="404"} 2.0
counterapp_requests_total{method="HEAD",route="none",status="404"} 1.0
counterapp_requests_total{method="GET",route="none",status="405"} 1.0
counterapp_request_duration_seconds_bucket{le="0.002",route="/hit/<name>"} 1.0
counterapp_request_duration_seconds_bucket{le="0.005",route="/hit/<name>"} 3.0
counterapp_request_duration_seconds_bucket{le="+Inf",route="/hit/<name>"} 3.0
counterapp_request_duration_seconds_count{route="/hit/<name>"} 3.0
counterapp_request_duration_seconds_sum{route="/hit/<name>"} 0.0075
counterapp_request_duration_seconds_bucket{le="+Inf",route="/a \\"b\\" \\\\{c}"} 1.0
counterapp_request_duration_seconds_sum{route="/a \\"b\\" \\\\{c}"} 1e-05
counterapp_build_info{node="web-1",process="27116",python="3.11.2",release="1.0.0"} 1.0
process_open_fds 7.0
"""


def test_latency_is_what_the_metrics_say(server, settings):
    server.answers = {"/metrics": (200, {}, METRICS)}
    settings["counterapp.metrics_url"] = f"{server.url}/"
    assert counterapp.latency() == {
        "process": "27116",
        "release": "1.0.0",
        "node": "web-1",
        "routes": {
            "/hit/<name>": {"buckets": {"0.002": 1, "0.005": 3, "+Inf": 3}, "seconds": 0.0075},
            '/a "b" \\{c}': {"buckets": {"+Inf": 1}, "seconds": 1e-05},
        },
        "not_found": 3,
    }


def test_latency_by_default_is_asked_at_the_metrics_own_port(settings):
    settings["topology:nodes:web-1:address"] = "127.0.0.9"
    with pytest.raises(CommandExecutionError, match="http://127.0.0.9:8001/metrics: "):
        counterapp.latency(timeout=1)
    settings["web:metrics_port"] = 1
    with pytest.raises(CommandExecutionError, match="127.0.0.9:1/metrics: Connection refused"):
        counterapp.latency(timeout=1)


def test_latency_of_something_else(server):
    server.answers = {"/metrics": (200, {}, b"process_open_fds 7.0\n")}
    with pytest.raises(CommandExecutionError, match="has no metrics of counterapp"):
        counterapp.latency(url=server.url)
    server.answers = {}
    with pytest.raises(CommandExecutionError, match="/metrics answered 404"):
        counterapp.latency(url=server.url)


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        ((200, {}, _json(ready=True, release="1.0.0", node="web-1")), {"ready": True}),
        ((200, WHO, _json(ready=False)), {"reason": "/readyz answered 200"}),
        ((200, WHO, b"<html>"), {"reason": "/readyz answered 200"}),
        ((200, WHO, b"[1]"), {"reason": "/readyz answered 200"}),
        ((503, WHO, _json(reason="no primary", detail="x")), {"reason": "no primary"}),
        ((503, WHO, _json(detail="too busy")), {"reason": "too busy"}),
        ((302, {"Location": "/livez", **WHO}, b""), {"reason": "/readyz answered 302"}),
    ],
)
def test_health_is_what_the_app_says(server, ready, expected):
    server.answers = {"/livez": (200, WHO, _json(live=True)), "/readyz": ready}
    found = counterapp.health(url=server.url)
    assert found == {
        "url": server.url,
        "live": True,
        "ready": False,
        "release": "1.0.0",
        "node": "web-1",
        "reason": "",
        **expected,
    }


def test_health_of_nobody(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    found = counterapp.health(url="http://127.0.0.1:1")
    assert (found["live"], found["ready"], found["release"]) == (False, False, None)
    assert found["reason"] == "Connection refused"
    assert server.seen == []


def test_health_of_something_else_altogether():
    with pytest.raises(CommandExecutionError, match="is no URL of the app"):
        counterapp.health(url="ftp://127.0.0.1")
    with pytest.raises(CommandExecutionError, match="must be a number of seconds"):
        counterapp.wait_ready(timeout="60")


def test_hit_is_sent_once_and_checked(server):
    path = "/api/v1/counters/default/shared/hits"
    answer = {"namespace": "default", "key": "shared", "value": 7}
    answer |= {"node": "web-1", "release": "1.0.0"}
    server.answers = {path: (200, {}, _json(replayed=False, **answer))}
    assert counterapp.hit(url=server.url) == answer
    assert server.seen == [("POST", path)]

    server.answers = {path: (503, {}, _json(title="Busy", detail="no primary"))}
    with pytest.raises(CommandExecutionError, match="answered 503: no primary"):
        counterapp.hit(url=server.url)
    server.answers = {path: (200, {}, b"<html>")}
    with pytest.raises(CommandExecutionError, match="no value in the answer"):
        counterapp.hit(url=server.url)
    assert len(server.seen) == 3
    with pytest.raises(CommandExecutionError, match="Connection refused"):
        counterapp.hit(url="http://127.0.0.1:1")


def test_hits_of_any_counter_are_looked_at(server):
    who = {"X-Served-By": "web-1", "X-Release": "1.0.0"}
    nodes = {"web-1": 4, "web-2": 3}
    server.answers = {
        "/api/v1/requests": (200, who, _json(total=7, nodes=nodes)),
        "/api/v1/counters/blog/post-1": (200, who, _json(value=7, nodes=nodes)),
    }
    answer = {"value": 7, "nodes": nodes, "node": "web-1", "release": "1.0.0"}
    found = counterapp.hits(url=server.url)
    assert found == {"namespace": "default", "key": "shared", **answer}
    found = counterapp.hits(url=server.url, counter="blog/post-1")
    assert found == {"namespace": "blog", "key": "post-1", **answer}
    with pytest.raises(CommandExecutionError, match="counters/default/nobody answered 404"):
        counterapp.hits(url=server.url, counter="nobody")


@pytest.mark.parametrize(
    "counter", ["ab", "a/b", "abc/", "/abc", "abc/abc/abc", "x" * 65, "ä" * 4, ""]
)
def test_counter_that_is_none(server, counter):
    with pytest.raises(CommandExecutionError, match="is no counter"):
        counterapp.hit(url=server.url, counter=counter)
    assert server.seen == []


def test_the_clock_tells_parts_of_a_second():
    before = time.time()
    told = [counterapp.clock() for _ in range(3)]
    assert before <= told[0] <= told[2] <= time.time()
    assert any(each % 1 for each in told)
