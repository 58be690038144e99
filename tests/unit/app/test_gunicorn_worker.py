"""How the worker sends an answer; what it does as a process is in tests/functional/app."""

import math
import time

import gevent
import pytest
from counterapp.gunicorn_worker import _Answer, _Wait
from gevent.event import Event


class Client:
    """A connection that remembers what it was told, in order."""

    def __init__(self):
        self.told = []

    def sendall(self, data):
        self.told.append(data)

    def send(self, data):
        self.told.append(("send", data))


@pytest.fixture
def client():
    return Client()


def test_head_and_body_are_sent_together_and_more_as_it_comes(client):
    answer = _Answer(client)
    answer.sendall(b"head")
    assert client.told == []
    answer.sendall(b"body")
    answer.sendall(b"more")
    answer.flush()
    assert client.told == [b"headbody", b"more"]


def test_a_head_without_a_body_is_sent_at_the_end_once(client):
    answer = _Answer(client)
    answer.sendall(b"head")
    answer.flush()
    answer.flush()
    assert client.told == [b"head"]


def test_without_an_answer_nothing_is_sent(client):
    _Answer(client).flush()
    assert client.told == []


def test_whatever_else_is_done_comes_after_the_head(client):
    answer = _Answer(client)
    answer.send(b"continue")
    answer.sendall(b"head")
    answer.send(b"file")
    answer.sendall(b"body")
    assert client.told == [("send", b"continue"), b"head", ("send", b"file"), b"body"]


@pytest.fixture
def idle():
    """Return connections that wait, where they stand, what they wait for, and how each ended."""
    waiting, come, ended = {}, Event(), []

    def wait():
        with _Wait(time.monotonic() + 60, waiting):
            come.wait()
            ended.append("came")
            return
        ended.append("over")

    connections = [gevent.spawn(wait) for _ in range(2)]
    gevent.idle()
    assert len(waiting) == 2
    yield connections, waiting, come, ended
    gevent.killall(connections)


def test_the_time_of_idle_connections_is_ended_from_outside(idle):
    connections, waiting, _, ended = idle
    for each in list(waiting.values()):
        assert each.until < math.inf
        each.end()
    gevent.joinall(connections, timeout=10, raise_error=True)
    assert ended == ["over", "over"]
    assert not waiting


def test_who_got_his_request_in_time_is_not_ended_any_more(idle):
    connections, waiting, come, ended = idle
    both = list(waiting.values())
    come.set()
    gevent.joinall(connections, timeout=10, raise_error=True)
    for each in both:
        each.end()
    gevent.idle()
    assert ended == ["came", "came"]


def test_other_exceptions_pass():
    with pytest.raises(KeyError), _Wait(math.inf, {}):
        raise KeyError
