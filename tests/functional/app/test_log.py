"""The log's reader may be slow, stopped or gone: requests are answered all the same."""

import http.client
import json
import os
import re

import pytest

from tests.functional.app.conftest import ANSWER_SECONDS
from tests.support.waiting import until

LONG = "/" + "x" * 4000
"""A path whose line in the log fills a pipe soon."""

FULL = 16
"""Requests with it that fill a pipe of 64 KiB."""


@pytest.fixture
def pipe():
    """Return the reading and the writing end of a pipe, as files."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb") as writer:
        yield reader, writer


@pytest.fixture
def node(single, pipe, make_node):  # which ends before its reader does
    started = make_node(single).start(stdout=pipe[1])
    pipe[1].close()
    return started


@pytest.fixture
def connection(node):
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=ANSWER_SECONDS)
    yield connection
    connection.close()


def ask(connection, path, method="GET"):
    connection.request(method, path)
    answer = connection.getresponse()
    answer.text = answer.read().decode()
    return answer


def dropped(node):
    return float(re.search("^counterapp_log_lines_dropped (.*)", node.metrics(), re.MULTILINE)[1])


def lines(reader):
    """Yield the lines that come until there are no more."""
    for line in reader:
        yield json.loads(line)


def test_without_a_reader_all_are_answered_and_what_was_dropped_is_told(node, connection, pipe):
    sent = 0
    while not (sent and sent % 100 == 0 and dropped(node)):
        assert ask(connection, LONG).status == 404
        sent += 1
        assert sent < 5000
    # What is not a request's line goes the same way, and no longer waits either.
    other = http.client.HTTPConnection(connection.host, connection.port, timeout=ANSWER_SECONDS)
    other.putrequest("GET", "/", skip_host=True)
    other.putheader("Host", "one")
    other.putheader("Host", "two")
    other.endheaders()
    assert other.getresponse().status == 400
    other.close()
    assert ask(connection, "/api/v1/counters/site/visits/hits", "POST").status == 200
    lost = int(dropped(node))
    found = []
    for line in lines(pipe[0]):
        found.append(line)
        if "dropped" in line["message"]:
            break
    logged = [line for line in found if line.get("path") == LONG]
    assert found[-1]["level"] == "warning"
    assert found[-1]["message"].startswith(f"{lost} lines ")
    # Besides the long ones, the hit and the bad request were dropped.
    assert len(logged) + lost == sent + 2
    # And from here on everything is there again.
    ask(connection, "/after")
    assert next(lines(pipe[0]))["path"] == "/after"
    assert dropped(node) == lost


def test_a_reader_that_is_gone_stops_nothing(connection, pipe):
    ask(connection, "/before")
    pipe[0].close()
    for _ in range(2 * FULL):
        assert ask(connection, LONG).status == 404
    assert ask(connection, "/api/v1/counters/site/visits/hits", "POST").status == 200


def test_lines_that_wait_for_their_reader_are_not_lost(node, connection, pipe):
    paths = [f"{LONG}{number}" for number in range(3 * FULL)]
    for path in paths:
        ask(connection, path)
    assert dropped(node) == 0
    found = [next(line for line in lines(pipe[0]) if line.get("path") == path) for path in paths]
    assert len(found) == len(paths)


@pytest.mark.parametrize(
    "sent",
    [
        "GET /get/one?admin_key=SECRET\r\nHost: here\r\n\r\n",
        "GET /one HTTP/1.1\r\nHost: here\r\nAuthorization Bearer SECRET\r\n\r\n",
        "POST /api/v1/counters/a/one HTTP/1.1\r\nHost: here\r\n"
        "Transfer-Encoding: chunked\r\n\r\nSECRET\r\n",
    ],
    ids=["request line", "field", "body"],
)
def test_what_a_client_keeps_secret_is_in_no_line(single, make_node, sent):
    node = make_node(single, COUNTERAPP_LOG_LEVEL="DEBUG").start()
    node.status_line(sent.encode("latin-1"))
    node.get("/after")
    until(lambda: node.log, 10, "the log goes on", wanted=lambda text: "/after" in text)
    assert "SECRET" not in node.log
