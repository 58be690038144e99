"""What one client may have of a node, and how long it may take over a request."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.functional.app.conftest import ANSWER_SECONDS
from tests.support.waiting import PATIENCE, until

LIVE = b"GET /livez HTTP/1.1\r\nHost: here\r\n"
DEADLINE = 10.0
"""Seconds that a head has, and a body."""


class Wire:
    """A connection on which every byte is seen."""

    def __init__(self, node):
        self._socket = socket.create_connection(("127.0.0.1", node.port), timeout=ANSWER_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, data):
        self._socket.sendall(data)

    def rest(self):
        """Return what comes until the server closes, as status, head and body."""
        said = b""
        while part := self._socket.recv(65536):
            said += part
        head, _, body = said.decode().partition("\r\n\r\n")
        return int(head.split()[1]), head, body


@pytest.fixture
def node(single, make_node):
    return make_node(single).start()


def drip(wire, data, seconds, pause=0.5):
    """Send data byte by byte, as long as the server takes it and the time is not over."""
    end = time.monotonic() + seconds
    for byte in data:
        if time.monotonic() > end:
            return
        try:
            wire.send(bytes([byte]))
        except OSError:
            return
        time.sleep(pause)  # so that it is slow


LENGTH = b"POST /api/v1/counters HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
SLOW = {
    "a head that stops": (LIVE, b""),
    "a head byte by byte": (LIVE, b"X-More: " + b"a" * 1000),
    "a body that never comes": (LENGTH + b"Content-Length: 100\r\n\r\n", b""),
    "a body byte by byte": (LENGTH + b"Content-Length: 100\r\n\r\n", b" " * 100),
    "chunks that stop": (LENGTH + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", b""),
    "a chunk byte by byte": (LENGTH + b"Transfer-Encoding: chunked\r\n\r\nff\r\n", b" " * 255),
}


def test_what_does_not_come_in_time_is_told_so_and_left(node):
    def ask(name):
        begin, more = SLOW[name]
        begun = time.monotonic()
        with Wire(node) as wire:
            wire.send(begin)
            drip(wire, more, DEADLINE + 5)
            return name, *wire.rest(), time.monotonic() - begun

    with ThreadPoolExecutor(len(SLOW)) as pool:
        for name, status, head, body, took in pool.map(ask, SLOW):
            assert status == 408, (name, head)
            assert "Connection: close" in head, name
            problem = json.loads(body)
            assert (problem["status"], problem["title"]) == (408, "Request Timeout"), name
            assert "10 s" in problem["detail"], name
            # The time counts from its begin, not from the last byte.
            assert DEADLINE - 1 < took < DEADLINE + 10 * PATIENCE, name
    # Others were not kept from anything meanwhile, and the places are free.
    assert node.post().status_code == 200


def test_a_body_that_nobody_wants_is_not_waited_for_longer(node):
    with Wire(node) as wire:
        begun = time.monotonic()
        wire.send(b"POST /nowhere HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n")
        status, _, _ = wire.rest()
        assert status == 404
        assert time.monotonic() - begun < DEADLINE + 10 * PATIENCE


def test_bodies_that_come_in_time_are_taken(node):
    with Wire(node) as wire:
        body = b'{"key": "slow-one"}'
        wire.send(LENGTH + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        drip(wire, body, DEADLINE, pause=0.05)
        status, _, said = wire.rest()
        assert status == 201, said


def test_a_head_is_bounded_as_a_whole(node):
    with Wire(node) as wire:
        wire.send(LIVE + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(40)) + b"\r\n")
        status, _, _ = wire.rest()
        assert status == 431


def test_answers_that_nobody_reads_hold_no_place_for_ever(single, make_node):
    node = make_node(single, COUNTERAPP_CLIENT_PLACES="1").start()
    with Wire(node) as wire:
        wire.send(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: here\r\n\r\n" * 500)
        until(lambda: is_refused(node.get("/livez")), 10, "the place is taken")
        until(lambda: node.get("/livez").status_code, 60, "the place is free", wanted=200)
    # That is the client's doing, and no error of ours.
    assert "Traceback" not in node.log


def test_one_client_has_its_places_and_others_have_theirs(single, make_node):
    node = make_node(
        single,
        COUNTERAPP_CLIENT_PLACES="5",
        COUNTERAPP_BALANCERS="127.0.0.1",
    ).start()
    me, other = {"X-Forwarded-For": "203.0.113.7"}, {"X-Forwarded-For": "203.0.113.8"}
    with ExitStack() as stack:
        held = LENGTH + b"X-Forwarded-For: 203.0.113.7\r\nContent-Length: 9\r\n\r\n"
        for _ in range(5):
            stack.enter_context(Wire(node)).send(held)
        # The short way, the long one, and CountAPI's.
        refused = until(lambda: node.post(headers=me), 10, "places are taken", wanted=is_refused)
        assert "5 requests in progress" in refused.json()["detail"]
        assert refused.headers["Retry-After"]
        assert is_refused(node.get("/readyz", headers=me))
        answer = node.get("/hit/site/page", headers=me)
        assert is_refused(answer)
        assert node.post(headers=other).status_code == 200
        assert node.post().status_code == 200
    until(lambda: node.post(headers=me).status_code, 10, "places are free", wanted=200)


def is_refused(answer):
    return answer.status_code == 429


def test_a_hit_through_a_balancer_is_its_clients(single, make_node):
    node = make_node(single, COUNTERAPP_BALANCERS="127.0.0.1").start()
    path = "/api/v1/counters/site/visits/hits"
    assert node.post(path, headers={"X-Forwarded-For": "2001:db8::7"}).status_code == 200
    [line] = [line for line in node.log_lines if line.get("path") == path]
    assert line["client"] == "2001:db8::7"


def test_from_nobody_else_the_header_is_believed(node):
    node.post(headers={"X-Forwarded-For": "203.0.113.7"})
    node.get("/hit/site/page", headers={"X-Forwarded-For": "203.0.113.7"})
    lines = until(
        lambda: [
            line["client"] for line in node.log_lines if line.get("path", "")[:2] in ("/a", "/h")
        ],
        10,
        "both are logged",
        wanted=lambda found: len(found) == 2,
    )
    assert lines == ["127.0.0.1"] * 2


def test_one_client_makes_so_many_counters_by_hits_and_is_told_when_to_come_again(
    single, make_node
):
    node = make_node(single, COUNTERAPP_CLIENT_CREATIONS="20", COUNTERAPP_BALANCERS="127.0.0.1")
    node.start()
    me, other = {"X-Forwarded-For": "203.0.113.7"}, {"X-Forwarded-For": "203.0.113.8"}

    def hit(number, headers=me):
        return node.post(f"/api/v1/counters/site/page{number}/hits", headers=headers)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(hit, range(60)))
    made = [number for number, answer in enumerate(answers) if answer.status_code == 200]
    assert len(made) == 20
    refused = next(answer for answer in answers if is_refused(answer))
    assert "20 counters an hour" in refused.json()["detail"]
    assert 100 <= int(refused.headers["Retry-After"]) <= 180
    # Hits on what is there go on, many at once, and so does everything of others.
    with ThreadPoolExecutor(10) as pool:
        assert {answer.status_code for answer in pool.map(hit, made * 3)} == {200}
    left = next(number for number in range(60) if number not in made)
    assert node.get(f"/hit/site/page{left}", headers=me).status_code == 429
    assert hit(left, other).status_code == 200
    assert hit(left).status_code == 200
