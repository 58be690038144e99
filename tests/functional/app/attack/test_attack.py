"""Abuses of a node beside an honest client, who notices next to nothing of them."""

import contextlib
import fcntl
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from bson import ObjectId

from tests.functional.app.attack.conftest import ELSEWHERE, Abuse, Honest
from tests.functional.app.conftest import ANSWER_SECONDS
from tests.support.stores import commands
from tests.support.waiting import PATIENCE, until

HIT = "POST /api/v1/counters/abuse/{}/hits HTTP/1.1\r\nHost: here\r\n"
FREE_AND_FULL = ["free"] * 19 + ["full"]
LARGEST = 2**53 - 1
MANY = 20_000
MEBIBYTE = 2**20


@pytest.fixture
def full(node):
    """A counter that cannot be hit any more."""
    made = node.post(
        "/api/v1/counters", json={"namespace": "abuse", "key": "full", "value": LARGEST}
    )
    assert made.status_code == 201


def test_blanks_in_heads(node, honest, beside):
    head = HIT.format("blanks") + f"X-Request-ID: a{' ' * 8000}b\r\n\r\n"
    report = beside(honest, Abuse(node, {"connections": 4, "send": [head], "turns": True}))
    assert set(report["statuses"]) == {"200"}


def hits_on(*counters, key=""):
    """Return what sends hits on these counters, in turn."""
    return {"send": [f"{HIT.format(counter)}{key}\r\n" for counter in counters]}


@contextlib.contextmanager
def frozen(node):
    """Have the node's workers stand still."""
    workers = node.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)


REFUSED = {"connections": 900} | hits_on("full")
READ = {
    "connections": 900,
    "send": ["GET /api/v1/counters/abuse/full HTTP/1.1\r\nHost: here\r\n\r\n"],
}
# One in twenty is refused, so that one is in each batch.
KEY = "Idempotency-Key: {n}\r\n"
WITH_KEYS = {"connections": 600} | hits_on(*FREE_AND_FULL, key=KEY)
COUNTED = {"connections": 600} | hits_on("free", key=KEY)


@pytest.mark.parametrize(
    ("refused", "answered"),
    [(REFUSED, READ), (WITH_KEYS, COUNTED)],
    ids=["plain", "with keys"],
)
def test_what_is_refused_costs_no_more_than_what_is_answered(
    single, node, full, honest, refused, answered
):
    def cost(hits):
        computed, written = node.computed(), commands(single)
        with contextlib.ExitStack() as abuses:
            # All that is sent is there at once, however long this machine takes to send it.
            with frozen(node):
                abuse = abuses.enter_context(Abuse(node, hits))
            report = until(
                abuse.report,
                60,
                "all are answered",
                wanted=lambda seen: sum(seen["statuses"].values()) == hits["connections"],
            )
            honest.hit()
        return report["statuses"], node.computed() - computed, commands(single) - written

    _, usual, _ = cost(answered)
    statuses, spent, written = cost(refused)
    honest.check()
    share = refused["send"].count(refused["send"][-1]) / len(refused["send"])
    assert statuses["422"] == share * refused["connections"]
    assert spent < 2 * usual
    assert written < refused["connections"] / 3


def test_totals_of_many_namespaces_for_many_callers(single, node, environ, honest, beside):
    node.post("/api/v1/counters/abuse/one/hits")
    with single.client() as client:
        counters = client[environ["COUNTERAPP_DATABASE"]].counters
        one = counters.find_one({"_id": "abuse/one"})
        # As the back end has made it, many times.
        counters.insert_many(
            one | {"_id": f"abuse-{number}/one", "inc": ObjectId()} for number in range(MANY)
        )
    [worker] = node.workers()
    process = Path("/proc", str(worker))
    before = memory(process, "VmRSS")
    # What the peak is from now on.
    (process / "clear_refs").write_text("5")
    ask = [f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n" for path in ("/stats", "/api/v1/stats")]
    report = beside(
        honest,
        Abuse(*[node, *({"connections": 4, "send": [each], "turns": True} for each in ask)]),
    )
    assert set(report["statuses"]) == {"200"}
    assert node.get("/api/v1/stats").json()["namespaces"] > MANY
    assert memory(process, "VmHWM") - before < 10 * MEBIBYTE


def memory(process, kind):
    [line] = re.findall(f"^{kind}:.*", (process / "status").read_text(), re.MULTILINE)
    return int(line.split()[1]) * 1024


def test_bodies_and_heads_that_never_come(node, honest, beside):
    begin = "POST /api/v1/counters HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    body = begin + "Content-Length: 1000\r\n\r\n"

    def given_up(abuse):
        return until(abuse.report, 60, "none is waited for", wanted=lambda seen: not seen["open"])

    report = beside(
        honest,
        Abuse(
            node,
            {"connections": 60, "send": [body]},
            {"connections": 60, "send": [body], "drip": 2},
            {"connections": 60, "send": [begin + "X-Slow: "], "drip": 2},
        ),
        ask=given_up,
    )
    assert report["closed"] == 180
    assert set(report["statuses"]) == {"408"}


class Reader:
    """Reads what a node logs into a pipe, or lets it stand there."""

    turn = contextlib.nullcontext

    def __init__(self):
        self._pipe, self.stdout = os.pipe()
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, 4096)
        self.read = b""
        self._reads = threading.Event()
        self._reads.set()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while self._reads.wait() and (data := os.read(self._pipe, 65536)):
            self.read += data
        os.close(self._pipe)

    def __enter__(self):
        self._reads.clear()
        return self

    def report(self):
        return f"{len(self.read)} bytes were read"

    def __exit__(self, *_):
        self._reads.set()


def test_a_reader_of_the_log_that_stops_reading(single, make_node, beside):
    reader = Reader()
    node = make_node(single).start(stdout=reader.stdout)
    os.close(reader.stdout)
    beside(Honest(node), reader)
    node.post(headers={"X-Request-ID": "the-last-one"})
    until(lambda: b"the-last-one" in reader.read, 20, "the log goes on")


def test_many_streams_of_one_client(single, make_node, beside):
    node = make_node(single, COUNTERAPP_MAX_STREAMS="30", COUNTERAPP_CLIENT_STREAMS="20").start()
    node.post("/api/v1/counters/abuse/streamed/hits")
    streams = "GET /stream/abuse/streamed HTTP/1.1\r\nHost: here\r\n\r\n"
    abuse = Abuse(node, {"connections": 60, "addresses": ELSEWHERE[:1], "send": [streams]})
    report = beside(Honest(node), abuse)
    assert report["statuses"] == {"200": 20, "429": 40}
    with (
        abuse,
        requests.get(
            f"{node.url}/stream/abuse/streamed", stream=True, timeout=ANSWER_SECONDS
        ) as mine,
    ):
        assert mine.status_code == 200


CHANGES = {
    "hits": ("POST", "/hits", None),
    "updates": ("POST", "/updates", {"amount": 1}),
    "value": ("PUT", "/value", {"value": 5}),
    "delete": ("DELETE", "", None),
}
READS = (
    "/get/abuse/owned",
    "/info/abuse/owned",
    "/stats",
    "/hit/abuse/owned",
    "/stream/abuse/owned",
)


def test_a_frozen_database_lets_nobody_wait_longer_than_hits(single, make_node):
    node = make_node(single, COUNTERAPP_HIT_DEADLINE="2", COUNTERAPP_DATABASE_TIMEOUT="2").start()
    path = "/api/v1/counters/abuse/owned"
    made = node.post("/api/v1/counters", json={"namespace": "abuse", "key": "owned"}).json()
    owner = {"Authorization": f"Bearer {made['admin_key']}"}
    calls = [(method, path + rest, {"json": json}) for method, rest, json in CHANGES.values()]
    keyed = {"headers": owner | {"Idempotency-Key": "once"}}
    calls += [(method, path, options | keyed) for method, path, options in calls[:2]]
    calls += [("GET", path, {}) for path in (path, f"{path}/history?resolution=hour", *READS)]
    calls += [("GET", f"/api/v1/{rest}", {}) for rest in ("counters", "export?format=csv", "stats")]
    calls += [
        ("POST", "/api/v1/counters", {"json": {"key": "new"}}),
        ("POST", "/api/v1/import", {"json": [{"key": f"key-{n}", "value": 1} for n in range(900)]}),
    ]

    def ask(call):
        method, path, options = call
        begun = time.monotonic()
        answer = requests.request(
            method, node.url + path, timeout=2 * ANSWER_SECONDS, **{"headers": owner, **options}
        )
        return path, answer.status_code, time.monotonic() - begun

    member = single.members[0]
    with ThreadPoolExecutor(len(calls)) as pool:
        member.pause()
        try:
            hits = list(pool.map(ask, calls[:1] * 5))
            answers = list(pool.map(ask, calls))
        finally:
            member.resume()
    longest = max(seconds for _, _, seconds in hits)
    assert {status for _, status, _ in hits + answers} == {503}, answers
    late = [answer for answer in answers if answer[2] > longest + PATIENCE]
    assert not late, (longest, late)
    until(lambda: node.post().status_code, 30, "hits are counted again", wanted=200)
    Honest(node).hit()


def test_reads_of_a_frozen_database_are_limited(single, make_node):
    node = make_node(single, COUNTERAPP_WAITING="20", COUNTERAPP_DATABASE_TIMEOUT="2").start()
    read = "GET /api/v1/counters/abuse/one HTTP/1.1\r\nHost: here\r\n\r\n"
    single.members[0].pause()
    try:
        with Abuse(node, {"connections": 60, "send": [read]}) as abuse:
            report = until(
                abuse.report,
                30,
                "all are answered",
                wanted=lambda seen: sum(seen["statuses"].values()) == 60,
            )
    finally:
        single.members[0].resume()
    assert report["statuses"] == {"503": 60}
