"""A failover is waited through: hits wait in a bounded queue while the replica set elects."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.functional.app.conftest import ANSWER_SECONDS, HIT
from tests.support import hits
from tests.support.waiting import PATIENCE, until

CLIENT_SECONDS = 10 * PATIENCE


@pytest.fixture
def nodes(rs, make_node):
    return [make_node(rs, name).start() for name in ("web-1", "web-2")]


@pytest.fixture
def alone(rs):
    """The replica set without a majority: nothing can be written until it is healed.

    The others are frozen, for they are back at once, before the time of what waits is over.
    """
    primary = rs.wait_primary()
    for member in rs.members:
        if member is not primary:
            member.pause()
    until(
        lambda: (primary.hello() or {}).get("isWritablePrimary"),
        30,
        f"{primary} has stepped down",
        wanted=False,
    )
    return rs


def waiting(node):
    line = next(
        line for line in node.metrics().splitlines() if line.startswith("counterapp_waiting_hits")
    )
    return float(line.split()[-1])


def until_waiting(node, number):
    until(lambda: waiting(node), 20, f"{number} hits wait", wanted=number)


def one_after_the_other(pool, node, calls):
    """Begin calls in this order, each when the one before waits; return what comes of them."""
    before, begun = waiting(node), []
    for number, options in enumerate(calls, 1):
        begun.append(pool.submit(node.post, **options))
        until_waiting(node, before + number)
    return begun


def send_hit(node):
    """Send a hit and return its connection, whose answer nobody has read."""
    connection = socket.create_connection(("127.0.0.1", node.port), ANSWER_SECONDS)
    connection.sendall(f"POST {HIT} HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n".encode())
    return connection


def total(node):
    return node.get("/api/v1/requests").json()["total"]


@pytest.mark.parametrize("harm", ["kill", "pause"])
def test_nobody_is_refused_and_all_count_once_when_the_primary_is_gone(nodes, rs, harm):
    def send(key):
        node = nodes[hash(key) % 2]
        headers = {"Idempotency-Key": key} if key else {}
        path = HIT.replace("shared", "keyed" if key else "plain")
        return node.post(path, headers=headers, timeout=CLIENT_SECONDS)

    def served():
        before = [len(each.values) for each in both]
        until(
            lambda: [len(each.values) for each in both],
            40,
            "hits of both kinds are acknowledged",
            wanted=lambda seen: all(b - a >= 30 for a, b in zip(before, seen, strict=True)),
        )

    with hits.traffic(send, 6) as plain, hits.traffic(send, 6, keyed=True) as keyed:
        both = (plain, keyed)
        served()
        getattr(rs.wait_primary(), harm)()
        served()
    rs.heal()
    for kind, seen in (("plain", plain), ("keyed", keyed)):
        count = nodes[0].get(f"/api/v1/counters/default/{kind}").json()["value"]
        assert seen.failures == []
        assert seen.problems(count) == []
        assert count == len(seen.values)


def test_so_many_wait_and_are_counted_in_their_order_and_more_are_refused_at_once(alone, make_node):
    node = make_node(alone, COUNTERAPP_WAITING="5").start(ready=False)
    with ThreadPoolExecutor(5) as pool:
        # They share one bound, whichever kind they are of.
        calls = [{}, {}, {}, {"headers": {"Idempotency-Key": "one"}, "path": KEYED}, {}]
        answers = one_after_the_other(pool, node, calls)
        for options in ({}, {"headers": {"Idempotency-Key": "two"}}):
            refused = node.post(**options)
            assert refused.status_code == 503
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert refused.headers["Retry-After"] == "2"
            assert "the hit was not counted" in refused.json()["detail"]
        assert waiting(node) == 5
        # Who asks for no hit does not wait behind them; and nothing is made to look well.
        assert node.get("/livez").status_code == 200
        assert node.get("/").status_code == 200
        assert node.get("/readyz").status_code == 503
        alone.heal()
        values = [answer.result(2 * ANSWER_SECONDS).json()["value"] for answer in answers]
    assert values == [1, 2, 3, 1, 4]
    assert total(node) == 4
    assert waiting(node) == 0


def test_a_client_that_hangs_up_frees_its_place(alone, make_node):
    node = make_node(alone, COUNTERAPP_WAITING="2").start(ready=False)
    with ThreadPoolExecutor(2) as pool:
        [begun] = one_after_the_other(pool, node, [{}])
        with send_hit(node):
            until_waiting(node, 2)
            assert node.post().status_code == 503
        until_waiting(node, 1)
        [late] = one_after_the_other(pool, node, [{}])
        alone.heal()
        values = [each.result(2 * ANSWER_SECONDS).json()["value"] for each in (begun, late)]
    # Nobody was there to be told of the one that hung up, so it is not counted.
    assert values == [1, 2]
    assert total(node) == 2


def test_when_the_time_of_a_hit_is_over_it_is_told_so(alone, make_node):
    node = make_node(alone, COUNTERAPP_HIT_DEADLINE="2").start(ready=False)
    with ThreadPoolExecutor(3) as pool:
        begun = [pool.submit(node.post) for _ in range(3)]
        answers = [answer.result(2 * ANSWER_SECONDS) for answer in begun]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Retry-After"] == "2"
        assert 1.5 < answer.elapsed.total_seconds() < 2 + 4 * PATIENCE
    unsure = [each for each in answers if "was not counted" not in each.json()["detail"]]
    alone.heal()
    until(lambda: node.status("/readyz"), 20, "/readyz answers 200", wanted=200)
    assert total(node) <= len(unsure)


KEYED = HIT.replace("shared", "keyed")
