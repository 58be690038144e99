"""The checker of hits: it sees each way in which a count can be wrong, and no other."""

import itertools

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from tests.support.hits import Traffic, is_refusal

CUT = requests.ConnectionError(ProtocolError("Connection aborted."))


def answer(status, detail="The database did not answer in time."):
    response = requests.Response()
    response.status_code = status
    response._content = b'{"detail": "%s"}' % detail.encode()
    return requests.HTTPError(response=response)


def traffic(*values, unsure=0, keyed=False):
    found = Traffic()
    for number, value in enumerate(values):
        body = {"value": value, "node": "web-1"}
        found.acknowledged(body, number, f"key-{number}" if keyed else None)
    for _ in range(unsure):
        found.failed(CUT, 0.0)
    return found


@pytest.mark.parametrize("count", [3, 4, 5])
def test_what_nobody_knows_may_be_counted_or_not(count):
    assert traffic(1, 2, 3, unsure=2).problems(count) == []


@pytest.mark.parametrize(
    ("found", "count", "problems"),
    [
        (traffic(1, 2, 3), 2, ["1 of 3 acknowledged hits are lost", "values above the count: 3"]),
        (traffic(1, 2, 3, unsure=1), 5, ["1 hits are counted that nobody made"]),
        (traffic(1, 2, 2), 3, ["1 hits were given a value that another one had"]),
        (traffic(1, 2, 4), 3, ["1 hits were given values above the count: 4"]),
        (traffic(1, 2, 3, keyed=True), 4, ["1 hits are counted that nobody made"]),
    ],
)
def test_each_way_to_be_wrong_is_seen(found, count, problems):
    told = found.problems(count)
    assert len(told) == len(problems)
    assert all(part in sentence for part, sentence in zip(problems, told, strict=True)), told


def test_a_key_is_unsure_once_and_until_it_is_acknowledged():
    found = traffic(1, 2, keyed=True)
    for _ in range(3):
        found.failed(CUT, 0.0, "key-9")
    assert (found.unsure, found.problems(4)) == (1, [found.problems(4)[0]])
    assert found.problems(3) == []
    found.acknowledged({"value": 3, "node": "web-2"}, 9.0, "key-9")
    assert (found.unsure, found.problems(3)) == (0, [])
    assert found.keys == {"key-0": 1, "key-1": 2, "key-9": 3}


def refused_connection():
    pool = requests.packages.urllib3.HTTPConnectionPool("192.0.2.1")
    return requests.ConnectionError(
        MaxRetryError(pool, "/", NewConnectionError(pool, "Connection refused"))
    )


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (answer(404), True),
        (answer(429), True),
        (answer(503, "The database was too slow, the hit was not counted."), True),
        (answer(503, "No server is ready to answer. Try again shortly."), True),
        (answer(503), False),
        (answer(500), False),
        (CUT, False),
        (requests.ReadTimeout(), False),
        (requests.ConnectTimeout(), True),
        (refused_connection(), True),
    ],
)
def test_only_what_was_surely_not_counted_is_a_refusal(error, refusal):
    assert is_refusal(error) is refusal
    found = Traffic()
    found.failed(error, 0.0)
    assert found.unsure == (not refusal)
    assert found.unsaid == (not refusal and error.response is not None)
    assert len(found.failures) == 1


def test_what_the_balancer_could_not_send_with_a_key_may_have_been_sent_before():
    assert not is_refusal(answer(503, "No server is ready to answer. Try again shortly."), True)


def test_an_answer_that_is_no_problem_document_is_unsure():
    error = answer(503)
    error.response._content = b"<html>"
    assert not is_refusal(error)


def test_the_longest_gap_is_between_two_acknowledgements():
    found = Traffic()
    for value, at in zip(itertools.count(1), (1.0, 1.5, 4.0, 4.1), strict=False):
        found.acknowledged({"value": value, "node": "web-1"}, at)
    assert found.longest_gap == 2.5
    assert Traffic().longest_gap == 0.0
