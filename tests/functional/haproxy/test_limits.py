"""What one client may ask a balancer for, and what it is told when it asks for more."""

import contextlib
import json
import socket

import pytest

from tests.functional.haproxy.role import MAXCONN, Balancer
from tests.support.waiting import until

MAKE = "/api/v1/counters"
PREFLIGHT = {"Origin": "https://blog.example", "Access-Control-Request-Method": "POST"}
OTHER = "127.0.0.9"


@pytest.fixture
def balancer(tmp_path):
    """Returns what makes a balancer with limits."""
    with contextlib.ExitStack() as stack:

        def make(exempt=(), **limits):
            made = Balancer(tmp_path, limits=limits, exempt=list(exempt))
            stack.callback(made.stop)
            return made

        yield make


def refused(answer, after, words):
    """Make sure that an answer is a refusal that a page of another site can read."""
    assert answer.status == 429
    assert answer.head["Retry-After"] == after
    assert answer.head["Access-Control-Allow-Origin"] == "*"
    assert answer.head["Content-Type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["status"], problem["title"]) == (429, "Too Many Requests")
    assert words in problem["detail"]


def test_requests(balancer):
    made = balancer(requests=20)
    # One was made to see whether it serves.
    assert [made.ask("GET", "/api/v1/stats") for _ in range(19)] == [200] * 19
    refused(made.answer("GET", "/api/v1/stats"), "10", "20 requests in 10 s")
    family = made.answer("GET", "/get/pages?callback=show")
    assert family.status == 200
    assert family.body.startswith('/**/show({"error": "One client may make 20')
    badge = made.answer("GET", "/badge/pages.svg")
    assert badge.head["Content-Type"].startswith("image/svg+xml")
    page = made.answer("GET", "/", {"Accept": "text/html"})
    assert (page.status, "<p>One client may make 20 requests" in page.body) == (429, True)
    # Or else a page could not even read that.
    assert made.ask("OPTIONS", MAKE, PREFLIGHT) == 204
    seen = sum(len(web.seen) for web in made.webs)
    assert seen == 20
    assert made.ask("GET", "/", client=OTHER) == 200
    # There is no line for each.
    assert made.log.read_text().count(" 429 ") == 0


def test_creations(balancer):
    made = balancer(creations=4)
    ways = [
        ("POST", MAKE),
        ("GET", "/create?key=a"),
        ("POST", "/create/a/b"),
        ("POST", "/api/v1/import"),
    ]
    assert [made.ask(*way, body=b"") for way in ways] == [200] * 4
    for method, path in (*ways, ("GET", "/countapi/create")):
        answer = made.answer(method, path, body=b"")
        assert (answer.status, answer.head["Retry-After"]) == (429, "60")
    refused(made.answer("POST", MAKE, body=b""), "60", "4 times a minute")
    # All else goes on, and what asks whether it may be sent.
    others = [("GET", MAKE), ("POST", "/hit/create/a"), ("GET", "/info/a"), ("DELETE", MAKE)]
    assert [made.ask(*way) for way in others] == [200] * 4
    # These servers know neither; what counts is that they are asked.
    assert made.ask("HEAD", "/create/a") == 501
    assert made.ask("OPTIONS", MAKE, PREFLIGHT) == 501
    assert made.ask("POST", MAKE, body=b"", client=OTHER) == 200


def test_connections(balancer):
    made = balancer(connections=5)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            kept = socket.create_connection(("127.0.0.1", made.port), timeout=10)
            stack.enter_context(kept)
            kept.sendall(b"GET / HTTP/1.1\r\nHost: counts.example\r\n\r\n")
            assert kept.recv(4096).startswith(b"HTTP/1.0 200")
        answer = made.answer("GET", "/api/v1/stats")
        refused(answer, "2", "5 connections at a time")
        assert answer.head["Connection"] == "close"
        assert made.ask("GET", "/", client=OTHER) == 200
        # They would take the places of others without a word.
        cut_off = 0
        for _ in range(MAXCONN):
            try:
                silent = socket.create_connection(("127.0.0.1", made.port), timeout=10)
            except ConnectionResetError:
                cut_off += 1
            else:
                stack.enter_context(silent)
        assert cut_off or silent.recv(1) == b""
        assert made.ask("GET", "/", client=OTHER) == 200
    until(lambda: made.ask("GET", "/"), 10, "there is room again", wanted=200)


def test_streams(balancer):
    made = balancer(streams=2)
    with made.stream() as first, made.stream() as second:
        assert (first.status, second.status) == (200, 200)
        refused(made.answer("GET", "/stream/default/pages"), "10", "2 streams at a time")
        assert made.ask("GET", "/api/v1/stats") == 200
        assert made.ask("GET", "/stream", client=OTHER) == 200
    until(lambda: made.open("/stream/default/pages"), 10, "there is room again", wanted=200)


def test_networks_without_limits(balancer):
    made = balancer(exempt=["127.0.0.0/30"], requests=5, creations=1)
    assert [made.ask("POST", MAKE, body=b"") for _ in range(10)] == [200] * 10
    found = [made.ask("POST", MAKE, body=b"", client=OTHER) for _ in range(7)]
    assert found == [200] + [429] * 6
    assert made.answer("POST", MAKE, body=b"", client=OTHER).head["Retry-After"] == "10"
