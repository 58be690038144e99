"""The configuration that the lb role writes, under a real HAProxy in front of real servers."""

import contextlib
import http.client
import signal
import socket
import time
import urllib.error
import urllib.request

import pytest

from tests.functional.haproxy.role import DEADLINE, MAXCONN, OWN, Balancer
from tests.support.loading import load
from tests.support.waiting import until

PATH = "/api/v1/counters/default/pages/hits"
IMPORT = "/api/v1/import"


@pytest.fixture
def balancer(tmp_path):
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
        "/hit/default/pages/",
        "/hit/default/pages/shield?text=visits",
        "/countapi/hit/pages",
        "/countapi/update/default/pages?amount=1",
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
        ("GET", "/hit/default/pages/shield", {}),
        ("GET", "/countapi/hit/default/pages", {}),
        ("GET", "/countapi/set/default/hits", {"Idempotency-Key": "1"}),
        ("GET", "/countapi/create", {"Idempotency-Key": "1"}),
        ("GET", "/delete/default/hit/shield", {"Idempotency-Key": "1"}),
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
    assert balancer.ask("GET", "/", {**claimed, "X-Kept": "7"}, client="127.0.0.9") == 200
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
            # That of whoever waited for the balancer may just be ending.
            until(
                lambda: haproxy.connections(address, "http")["idle"],
                10,
                "the client's connection is the one that is idle",
                wanted=1,
            )
        for web in balancer.webs:
            web.dying = status == 502
        haproxy.close_until(address, int(time.time()) + 60)
        client.request("GET", PATH)
        last = client.getresponse()
        last.read()
        assert (last.status, last.will_close) == (status, True)
    assert balancer.ask("GET", PATH) == status
