"""How the worker sends an answer; what it does as a process is in tests/functional/app."""

import pytest
from counterapp.gunicorn_worker import _Answer


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
