"""The worker: what waits costs no thread, and a stop waits for no stream."""

import concurrent.futures
import http.client
import re
import socket
import time

import pytest
import requests

from tests.functional.app.conftest import ANSWER_SECONDS
from tests.support.waiting import PATIENCE, until

STREAMS = 200


@pytest.fixture
def node(single, make_node):
    return make_node(single).start()


def test_hundreds_of_idle_streams_leave_room_for_everybody_else(single, make_node):
    # All of them come from one address here.
    places = {
        "COUNTERAPP_CLIENT_STREAMS": f"{STREAMS}",
        "COUNTERAPP_CLIENT_PLACES": f"{9 * STREAMS}",
    }
    node = make_node(single, **places).start()
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
        streams = list(pool.map(lambda _: open_stream(node), range(STREAMS)))
        try:
            assert {stream.status_code for stream in streams} == {200}
            begun = time.monotonic()
            answers = list(pool.map(lambda _: node.post(), range(STREAMS)))
            assert {answer.status_code for answer in answers} == {200}
            assert time.monotonic() - begun < 10 * PATIENCE
        finally:
            for stream in streams:
                stream.close()
    until(
        lambda: re.findall("^counterapp_streams .*", node.metrics(), re.MULTILINE),
        30,
        "no stream is open",
        wanted=["counterapp_streams 0.0"],
    )


def open_stream(node):
    return requests.get(f"{node.url}/stream/default/shared", stream=True, timeout=ANSWER_SECONDS)


def test_a_stop_ends_streams_and_idle_connections_by_itself(single, make_node):
    node = make_node(single, COUNTERAPP_GRACEFUL_TIMEOUT="300").start()
    session = requests.Session()
    session.post(node.url + "/api/v1/counters/default/shared/hits", timeout=ANSWER_SECONDS)
    with open_stream(node) as stream:
        lines = stream.iter_lines()
        assert next(lines)
        begun = time.monotonic()
        node.terminate()
        # To its proper end: one that was cut off would raise.
        for _ in lines:
            pass
        assert node.wait() == 0
    # Idle ones are given a moment, not the time that requests in flight have.
    assert time.monotonic() - begun < 10 * PATIENCE


def test_a_kept_connection_is_still_answered_while_stopping(node):
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=ANSWER_SECONDS)
    connection.request("GET", "/livez")
    connection.getresponse().read()
    node.terminate()
    until(node.accepts, 10, "new connections are refused", wanted=False)
    connection.request("GET", "/livez")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["Connection"] == "close"
    assert answer.read()
    assert node.wait() == 0


HIT = "POST /api/v1/counters/site/visits/hits HTTP/1.1\r\nHost: here\r\n"
PLAIN = HIT + "X-Request-ID: one\r\n\r\n"
# A field that no client of ours has, and which gunicorn drops: only the way is another.
LONG = HIT + "X-Request-ID: one\r\nx_long: 1\r\n\r\n"


class Wire:
    """A connection on which every byte is seen."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self._read = self._socket.makefile("rb")

    def send(self, text):
        self._socket.sendall(text.encode())

    def answer(self):
        """Return the lines of the next answer's head, and its body."""
        lines = []
        while (line := self._read.readline()) != b"\r\n":
            assert line, "the connection was closed"
            lines.append(line.decode().rstrip("\r\n"))
        [length] = [line.split()[1] for line in lines if line.startswith("Content-Length: ")]
        return lines, self._read.read(int(length)).decode()


def test_the_short_way_says_what_the_long_one_does_byte_for_byte(node):
    wire = Wire(node.port)
    said = []
    for text in (PLAIN, LONG):
        wire.send(text)
        lines, body = wire.answer()
        said.append([line for line in lines if not line.startswith("Date: ")])
        assert len(said[-1]) == len(lines) - 1
        assert f'"value":{len(said)}}}' in body
    short, long = said
    assert short[0] == long[0] == "HTTP/1.1 200 OK"
    assert sorted(short) == sorted(long)


def test_ways_take_turns_on_one_connection(node):
    wire = Wire(node.port)
    refused = HIT.replace("Host", "Content-Length: 5\r\nHost") + "\r\nPOST "
    for text, status in [
        (PLAIN, 200),
        ("GET /livez HTTP/1.1\r\nHost: here\r\n\r\n", 200),
        # Its body, which nobody reads, is not the beginning of the next one.
        (refused, 400),
        (PLAIN, 200),
        (LONG, 200),
        (PLAIN, 200),
    ]:
        wire.send(text)
        lines, _ = wire.answer()
        assert lines[0].split()[1] == str(status), text
    assert '"value":4' in node.get("/api/v1/counters/site/visits").text.replace(": ", ":")


def test_a_hit_may_come_in_pieces_or_with_the_next(node):
    wire = Wire(node.port)
    wire.send(PLAIN[:60])
    time.sleep(0.2)  # so that it is read as it came
    wire.send(PLAIN[60:])
    assert '"value":1}' in wire.answer()[1]
    wire.send(PLAIN + PLAIN + LONG + PLAIN)
    assert [wire.answer()[1].rpartition(":")[2] for _ in range(4)] == [
        f"{value}}}\n" for value in (2, 3, 4, 5)
    ]


def test_the_metrics_have_a_listener_with_places_of_its_own(single, make_node):
    node = make_node(single, COUNTERAPP_CONNECTIONS="2").start()
    taken = [Wire(node.port) for _ in range(2)]
    for wire in taken:
        wire.send("GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
        assert wire.answer()[0][0].split()[1] == "404"
    assert 'route="none"' in node.metrics()
    there = Wire(node.metrics_port)
    there.send(PLAIN)
    lines, _ = there.answer()
    assert lines[0].split()[1] == "404"
    assert "Connection: close" in lines
    taken[0].send("GET /api/v1/counters/site/visits HTTP/1.1\r\nHost: here\r\n\r\n")
    assert taken[0].answer()[0][0].split()[1] == "404"
