"""Letting go of clients before an address moves: no connection is kept, no request is cut off."""

import contextlib
import http.client
import socket
import threading
import time

import pytest
from salt.exceptions import CommandExecutionError

from tests.functional.haproxy.conftest import CONFIG
from tests.support.waiting import until


@contextlib.contextmanager
def kept(balancer):
    """A client with a connection that it keeps; one request was answered on it."""
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=30)
    ) as client:
        assert not asked(client).will_close
        yield client


def asked(client):
    """Ask once more on the same connection; return the answer."""
    client.request("GET", "/")
    answer = client.getresponse()
    answer.read()
    assert answer.status == 200
    return answer


def counted(balancer, wanted):
    """Wait until the connections are at what they are meant to be at."""
    words = f"the connections are at {wanted}"
    wanted = {"multiplexed": 0, **wanted}
    until(lambda: balancer.call("connections", "front"), 10, words, wanted=wanted)


def test_an_answer_says_that_it_is_the_last_and_the_connection_ends(balancer):
    with kept(balancer) as first, kept(balancer) as second:
        done = balancer.call("closing", 60)
        assert done["closing"]
        assert 50 < done["until"] - time.time() < 61
        for client in (first, second):
            held = client.sock
            assert asked(client).getheader("Connection") == "close"
            # Python's client closes its end then; the other one is counted below.
            assert held.fileno() == -1
        counted(balancer, {"asking": 0, "answering": 0, "idle": 0})
        # New ones are served, once each.
        assert asked(first).will_close


def test_haproxy_ends_it_without_the_client(balancer):
    balancer.call("closing", 60)
    with socket.create_connection(("127.0.0.1", balancer.port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: counts.example\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.endswith((b"web-1", b"web-2"))


@pytest.mark.parametrize("end", ["by itself", "when told", "with a reload"])
def test_it_ends(balancer, end):
    balancer.call("closing", 1 if end == "by itself" else 60)
    if end == "when told":
        assert balancer.call("closing", 0) == {"closing": False, "until": 0}
    if end == "with a reload":
        balancer.start()

    def kept_again():
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=30)
        ) as client:
            return not asked(client).will_close

    until(kept_again, 10, "connections are kept again")


def test_what_connections_are_at_is_told(balancer):
    with kept(balancer), balancer.held_session("web-1"):
        counted(balancer, {"asking": 1, "answering": 0, "idle": 1})


def test_a_request_under_way_gets_its_answer(balancer):
    with balancer.held_session("web-1") as backend:
        with pytest.raises(CommandExecutionError, match="1 request of frontend 'front' still has"):
            balancer.call("wait_answered", "front", timeout=0.3)
        threading.Timer(0.6, backend.let_go.set).start()
        done = balancer.call("wait_answered", "front", timeout=20)
    assert done["asking"] == 0
    assert done["waited"] >= 0.3


def test_who_was_let_in_last_has_a_moment_for_the_request(balancer):
    balancer.call("closing", 60)
    with socket.create_connection(("127.0.0.1", balancer.port), timeout=30) as late:
        counted(balancer, {"asking": 0, "answering": 0, "idle": 1})
        silent = balancer.call("wait_answered", "front", timeout=20, request_within=0.2)
        assert (silent["idle"], silent["waited"] >= 0.2) == (1, True)
        request = b"GET / HTTP/1.1\r\nHost: counts.example\r\n\r\n"
        threading.Timer(0.3, late.sendall, [request]).start()
        done = balancer.call("wait_answered", "front", timeout=20, request_within=20)
        assert (done["idle"], done["waited"] >= 0.2) == (0, True)
        assert b"".join(iter(lambda: late.recv(4096), b"")).endswith((b"web-1", b"web-2"))


def test_a_stream_is_not_waited_for(balancer):
    with balancer.streaming() as stream:
        assert stream.readline() == b"data: 1\n"
        counted(balancer, {"asking": 0, "answering": 1, "idle": 0})
        done = balancer.call("wait_answered", "front", timeout=20, stream_after=0.2)
        assert 0.2 <= done["waited"] < 5
        assert done["answering"] == 1


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("closing", ["long"], "seconds must be a number"),
        ("closing", [-1], "seconds must be a number"),
        ("connections", ["nope"], "has no frontend 'nope'"),
        ("connections", ["a; b"], "cannot be the name of a frontend"),
        ("wait_answered", ["front", "long"], "timeout must be a number"),
        ("wait_answered", ["front", 1, "long"], "stream_after must be a number"),
        ("wait_answered", ["front", 1, 1, "long"], "request_within must be a number"),
    ],
)
def test_bad_input_is_named(balancer, function, arguments, message):
    with pytest.raises(CommandExecutionError, match=message):
        balancer.call(function, *arguments)


def test_a_configuration_that_does_not_go_by_it(balancer):
    assert "proc.closing_until" in CONFIG
    original = balancer.config.read_text()
    balancer.config.write_text(
        "\n".join(line for line in original.splitlines() if "proc.closing_until" not in line) + "\n"
    )
    try:
        balancer.start()
        with pytest.raises(CommandExecutionError, match="http-after-response set-header"):
            balancer.call("closing", 60)
    finally:
        balancer.config.write_text(original)
        balancer.start()


def test_a_socket_without_the_right_to_change_anything(balancer):
    with pytest.raises(CommandExecutionError, match="Permission denied.*level admin"):
        balancer.call("closing", 60, socket=str(balancer.folder / "user.sock"))
