"""Every acknowledged hit is counted, none twice, whoever dies meanwhile."""

import concurrent.futures
import contextlib
import itertools
import random
import threading
import uuid

import pytest
import requests

from tests.functional.app.conftest import ANSWER_SECONDS, HIT
from tests.support.waiting import until


class Load:
    """Threads that hit nodes until told to stop, and keep what they were told."""

    def __init__(self, nodes, threads=12):
        self.acknowledged = []
        self.attempts = 0
        self.statuses = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(nodes[n % len(nodes)],))
            for n in range(threads)
        ]

    def _run(self, node):
        session = requests.Session()
        while not self._stop.is_set():
            with self._lock:
                self.attempts += 1
            try:
                response = session.post(node.url + HIT, timeout=ANSWER_SECONDS)
            except requests.RequestException:
                # Refused or cut off. A pause, so that a dead node is not asked without end.
                self._stop.wait(0.02)
                continue
            with self._lock:
                self.statuses.add(response.status_code)
                if response.ok:
                    self.acknowledged.append(response.json()["value"])

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)

    def wait_more(self, hits, timeout=40):
        """Wait until ``hits`` more than now are acknowledged."""
        target = len(self.acknowledged) + hits
        until(
            lambda: len(self.acknowledged),
            timeout,
            f"{target} hits are acknowledged",
            wanted=lambda number: number >= target,
        )

    def check(self, node):
        """Compare with what the database has in the end."""
        count = node.get("/api/v1/requests").json()["total"]
        assert len(set(self.acknowledged)) == len(self.acknowledged), "two hits got one number"
        assert len(self.acknowledged) <= count <= self.attempts
        assert max(self.acknowledged) <= count
        assert self.statuses <= {200, 503}


@pytest.fixture
def nodes(rs, make_node):
    return [make_node(rs, name).start() for name in ("web-1", "web-2")]


def test_two_nodes_count_exactly_under_concurrency(nodes):
    each = 150
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        futures = [pool.submit(node.post) for _ in range(each) for node in nodes]
        answers = [future.result() for future in futures]
    assert {answer.status_code for answer in answers} == {200}
    counts = sorted(answer.json()["value"] for answer in answers)
    assert counts == list(range(1, 2 * each + 1))
    for node in nodes:
        body = node.get("/api/v1/requests").json()
        assert body["total"] == 2 * each
        assert body["nodes"] == {"web-1": each, "web-2": each}
        assert body["node"] == node.name


def test_a_node_killed_under_load_loses_nothing(nodes):
    with Load(nodes) as load:
        load.wait_more(100)
        nodes[0].kill()
        load.wait_more(100)
        nodes[0].start()
        load.wait_more(100)
    load.check(nodes[1])


def test_a_primary_killed_under_load_loses_nothing(nodes, rs):
    with Load(nodes) as load:
        load.wait_more(100)
        rs.wait_primary().kill()
        load.wait_more(100)
        rs.heal()
        load.wait_more(50)
    load.check(nodes[0])


def test_a_primary_that_steps_down_costs_no_failure(nodes, rs):
    with Load(nodes) as load:
        load.wait_more(50)
        with rs.wait_primary().client() as client:
            client.admin.command("replSetStepDown", 10)
        load.wait_more(100)
    load.check(nodes[0])
    assert load.statuses == {200}


def test_the_first_hits_of_a_counter_may_come_all_at_once(nodes):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        futures = [
            pool.submit(nodes[n % 2].post, "/api/v1/counters/default/fresh/hits") for n in range(32)
        ]
        answers = [future.result() for future in futures]
    assert [answer.status_code for answer in answers] == [200] * 32
    assert sorted(answer.json()["value"] for answer in answers) == list(range(1, 33))


class KeyedLoad(Load):
    """The same with an idempotency key for each hit, asked for again until it is acknowledged."""

    def __init__(self, nodes, threads=12):
        self.values = {}
        self._nodes = nodes
        super().__init__(nodes, threads)

    def _run(self, node):
        while not self._stop.is_set():
            key = uuid.uuid4().hex
            value = self.hit(key)["value"]
            with self._lock:
                self.values[key] = value
                self.acknowledged.append(value)

    def hit(self, key):
        """Return the answer to the first request with this key that is not an error."""
        for node in itertools.cycle(self._nodes):
            # Not a Session: it could hold on to a connection of a process that was killed.
            with contextlib.suppress(requests.RequestException):
                response = node.post(headers={"Idempotency-Key": key})
                with self._lock:
                    self.attempts += 1
                    self.statuses.add(response.status_code)
                if response.ok:
                    return response.json()
        raise AssertionError("there are no nodes")

    def check(self, node):
        super().check(node)
        assert node.get("/api/v1/requests").json()["total"] == len(self.values)
        for key, value in random.sample(sorted(self.values.items()), 20):
            answer = self.hit(key)
            assert (answer["value"], answer["replayed"]) == (value, True)
        assert node.get("/api/v1/requests").json()["total"] == len(self.values)


def test_hits_with_a_key_count_once_whoever_crashes(nodes, rs):
    with KeyedLoad(nodes) as load:
        for node in (nodes[0], nodes[1], nodes[0]):
            load.wait_more(60)
            node.kill()
            load.wait_more(30)
            node.start()
        load.wait_more(30)
        rs.wait_primary().kill()
        load.wait_more(60)
        rs.heal()
        load.wait_more(30)
    load.check(nodes[0])
