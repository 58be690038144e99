"""The worker: what waits costs no thread, and a stop waits for no stream."""

import concurrent.futures
import http.client
import socket
import time

import pytest
import requests

from tests.support.mongod import wait_for

STREAMS = 200


@pytest.fixture
def node(single, make_node):
    return make_node(single).start()


def test_hundreds_of_idle_streams_leave_room_for_everybody_else(node):
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
        streams = list(pool.map(lambda _: open_stream(node), range(STREAMS)))
        try:
            assert {stream.status_code for stream in streams} == {200}
            begun = time.monotonic()
            answers = list(pool.map(lambda _: node.post(), range(STREAMS)))
            assert {answer.status_code for answer in answers} == {200}
            assert time.monotonic() - begun < 10
        finally:
            for stream in streams:
                stream.close()
    wait_for(lambda: "counterapp_streams 0.0" in node.get("/metrics").text, 30, "no streams")


def open_stream(node):
    return requests.get(f"{node.url}/stream/default/shared", stream=True, timeout=30)


def test_a_stop_ends_streams_and_idle_connections_by_itself(node):
    session = requests.Session()
    session.post(node.url + "/api/v1/counters/default/shared/hits", timeout=30)
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
    assert time.monotonic() - begun < 10


def test_a_kept_connection_is_still_answered_while_stopping(node):
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    connection.request("GET", "/livez")
    connection.getresponse().read()
    node.terminate()
    wait_for(lambda: refused(node.port), 10, "no new connections")
    connection.request("GET", "/livez")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["Connection"] == "close"
    assert answer.read()
    assert node.wait() == 0


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False
