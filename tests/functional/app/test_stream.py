"""Streams of events from real nodes: through failovers, clients that go and nodes that stop."""

import json
import socket
import time

import pytest
import requests

from tests.functional.app.conftest import ANSWER_SECONDS
from tests.support.waiting import PATIENCE, until


class Stream:
    """An open stream of a node."""

    def __init__(self, node, path="/stream/page"):
        self.answer = requests.get(node.url + path, stream=True, timeout=ANSWER_SECONDS)
        self._lines = self.answer.iter_lines(chunk_size=1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answer.close()

    def next_value(self):
        """Return what the next event says; None at the end of the stream."""
        for line in self._lines:
            if line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))
        return None

    def wait_value(self, value):
        """Wait until the stream says ``value`` and return what it has said on the way."""
        said = []

        def read():
            line = next(self._lines, None)
            assert line is not None, f"ended after {said}"
            if line.startswith(b"data: "):
                event = json.loads(line.removeprefix(b"data: "))
                if "value" in event:
                    said.append(event["value"])
            return said

        return until(
            read,
            60,
            f"the stream says {value}",
            wanted=lambda said: said[-1:] == [value],
            interval=0,
        )


@pytest.fixture
def node(single, make_node):
    return make_node(single).start()


def test_changes_arrive_from_every_node_and_name_it(single, make_node):
    nodes = [make_node(single, name).start() for name in ("web-1", "web-2")]
    nodes[0].get("/hit/page")
    with Stream(nodes[0]) as stream:
        assert stream.answer.headers["Content-Type"].startswith("text/event-stream")
        assert stream.next_value() == {"value": 1, "node": None}
        for round_ in range(3):
            for node in nodes:
                value = node.get("/hit/page").json()["value"]
                began = time.monotonic()
                event = stream.next_value()
                assert time.monotonic() - began < 5 * PATIENCE
                assert event["value"] == value
                if round_:
                    # Before, it may have been looked up, which tells no node.
                    assert event["node"] == node.name


def test_a_client_that_goes_gives_its_place_back(single, make_node):
    node = make_node(single, COUNTERAPP_MAX_STREAMS="2").start()
    node.get("/hit/page")
    with Stream(node), Stream(node) as second:
        assert second.next_value()
        assert node.get("/stream/page").status_code == 503
        second.answer.close()

        def served():
            # Each change is an attempt to write, which finds out who has gone.
            node.get("/hit/page")
            with requests.get(
                f"{node.url}/stream/page", stream=True, timeout=ANSWER_SECONDS
            ) as answer:
                return answer.status_code

        until(served, 10, "there is a place for a stream", wanted=200)


def test_a_client_that_does_not_read_gets_the_newest_in_the_end_and_holds_nobody_up(node):
    node.get("/hit/page")
    slow = socket.create_connection(("127.0.0.1", node.port), timeout=ANSWER_SECONDS)
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    with slow, Stream(node) as quick:
        slow.sendall(b"GET /stream/page HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        session = requests.Session()
        for _ in range(300):
            last = session.post(f"{node.url}/hit/page").json()["value"]
        quick.wait_value(last)
        received = bytearray()

        def read():
            received.extend(slow.recv(65536))
            return received

        newest = f'"value": {last},'.encode()
        until(read, 30, "the newest value comes", wanted=lambda got: newest in got, interval=0)


def test_a_counter_that_is_not_there_is_waited_for_until_it_is_removed_again(node):
    with Stream(node) as stream:
        key = node.get("/create/page").json()["admin_key"]
        assert stream.next_value()["value"] == 0
        node.get(f"/delete/page?token={key}")
        assert stream.next_value() == {"value": None}
        assert stream.next_value() is None


def test_a_stopping_node_ends_its_streams_and_does_not_wait_for_them(node):
    node.get("/hit/page")
    with Stream(node) as stream:
        assert stream.next_value()
        node.terminate()
        assert stream.next_value() is None
    assert node.wait(15) == 0


def test_a_stream_outlives_a_failover_and_never_says_too_much(rs, make_node):
    nodes = [make_node(rs, name).start() for name in ("web-1", "web-2")]
    nodes[0].get("/hit/page")
    with Stream(nodes[0]) as stream:
        assert stream.wait_value(1)
        rs.wait_primary().kill()
        said = []
        for value in (2, 3, 4):
            answer = until(
                lambda value=value: hit(nodes[1], value),
                40,
                f"hit {value} is counted",
                wanted=lambda answer: answer.ok,
            )
            said += stream.wait_value(answer.json()["value"])
        assert said == sorted(said)
        rs.heal()
        nodes[1].get("/hit/page")
        stream.wait_value(5)


def hit(node, value):
    """Hit once, however often it takes."""
    return node.get("/hit/page", headers={"Idempotency-Key": f"hit-{value}"})
