"""Web nodes whose clocks are wrong, beside one whose clock is right: only the database's counts.

libfaketime stands between a process and the machine's clock. Time that passes (the monotonic clock)
stays as it is, as on a machine whose clock somebody has set.
"""

import itertools
import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from tests.functional.app.conftest import ANSWER_SECONDS
from tests.support.waiting import PATIENCE, until

LIBRARY = "libfaketime.so.1"
RESOLUTIONS = {"minute": 60, "hour": 3600, "day": 86400}
KEYS = [f"key-{number}" for number in range(6)]
KINDS = ["hits", "hits", "hits", "hits", "updates"]


class Clock:
    """A clock that processes are given instead of the machine's."""

    def __init__(self, folder):
        found = sorted(Path("/usr/lib").glob(f"*/faketime/{LIBRARY}"))
        assert found, f"{LIBRARY} is missing: run 'make host', which installs libfaketime"
        self._file = folder / "clock"
        self.environ = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "DONT_FAKE_MONOTONIC": "1",
            # With it, what waits for a moment that comes too late polls for it.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            # gunicorn's heartbeat is the time of a file, and no time of day.
            "NO_FAKE_STAT": "1",
        }
        self.put("+0")

    def put(self, offset):
        """Put the clock off by so much, as in ``+61m``; whoever looks sees it from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.rename(self._file)


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path)


@pytest.fixture
def nodes(single, make_node, clock):
    """One node with the right time, and one that has what ``clock`` says."""
    right = make_node(single, "web-1").start()
    return [right, make_node(single, "web-2", **clock.environ).start()]


class Traffic:
    """Hits and updates by one, through both nodes, on the same counters, some with a key."""

    def __init__(self, nodes):
        self._nodes = nodes
        self.values = {key: [] for key in KEYS}
        self.hits = dict.fromkeys(KEYS, 0)
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self):
        self._ended.clear()
        self._pool = ThreadPoolExecutor(12)
        self._running = [self._pool.submit(self._run, number) for number in range(12)]
        return self

    def __exit__(self, *_):
        self._ended.set()
        for each in self._running:
            each.result(60 * PATIENCE)
        self._pool.shutdown()

    def _run(self, number):
        session, node = requests.Session(), self._nodes[number % 2]
        for turn in itertools.count(number):
            if self._ended.is_set():
                return
            key, kind = KEYS[turn % len(KEYS)], KINDS[turn % len(KINDS)]
            path = f"/api/v1/counters/clocks/{key}/{kind}"
            options = {"json": {"amount": 1}} if kind == "updates" else {}
            if turn % 3 == 0:
                options["headers"] = {"Idempotency-Key": uuid.uuid4().hex}
            answer = session.post(node.url + path, timeout=ANSWER_SECONDS, **options)
            if answer.status_code == 404:
                # An update of a counter that nobody has hit yet.
                continue
            assert answer.status_code == 200, answer.text
            value = answer.json()["value"]
            if "headers" in options:
                other = random.choice(self._nodes)
                again = session.post(other.url + path, timeout=ANSWER_SECONDS, **options).json()
                assert (again["value"], again["replayed"]) == (value, True)
            with self._lock:
                self.values[key].append(value)
                self.hits[key] += kind == "hits"

    def wait_more(self, hits):
        """Wait until ``hits`` more than now are acknowledged."""

        def acknowledged():
            return sum(map(len, self.values.values()))

        target = acknowledged() + hits
        until(acknowledged, 60, f"{target} hits are counted", wanted=lambda seen: seen >= target)

    def wait_each(self):
        """Wait until each counter has a change more that began after now."""
        before = {key: len(values) for key, values in self.values.items()}
        until(
            lambda: min(len(values) - before[key] for key, values in self.values.items()),
            30,
            "each counter is changed",
            # As many as may have been under way.
            wanted=lambda seen: seen > 12,
        )

    def check(self, begun, ended):
        """Compare what the nodes tell of each counter with what they have acknowledged."""
        for key, values in self.values.items():
            assert sorted(values) == list(range(1, len(values) + 1))
            for node in self._nodes:
                counter = check_history(node, key, len(values), begun, ended)
                assert sum(counter["nodes"].values()) == self.hits[key]


def check_history(node, key, count, begun, ended):
    """Check, and return, what a node tells of a counter that came to ``count`` in that time."""
    path = f"/api/v1/counters/clocks/{key}"
    counter = node.get(path).json()
    assert counter["value"] == counter["rates"]["hour"] == counter["rates"]["day"] == count
    assert 0 <= counter["rates"]["minute"] <= count
    assert begun <= moment(counter["created"]) <= moment(counter["updated"]) <= ended
    for resolution, seconds in RESOLUTIONS.items():
        points = history(node, key, resolution)
        assert sum(point["change"] for point in points) == points[-1]["value"] == count
        assert begun - timedelta(seconds=seconds) < moment(points[0]["time"])
        assert moment(points[-1]["time"]) <= ended + timedelta(seconds=1)
    return counter


def history(node, key, resolution):
    answer = node.get(f"/api/v1/counters/clocks/{key}/history", params={"resolution": resolution})
    return answer.json()["points"]


def moment(text):
    return datetime.fromisoformat(text)


def now():
    """The present of the database, which runs on this machine."""
    return datetime.now(UTC)


@pytest.mark.parametrize("offset", ["+61m", "-61m", "+1d", "-1d"])
def test_a_wrong_clock_disturbs_nothing(nodes, clock, single, environ, offset):
    clock.put(offset)
    begun = now() - timedelta(milliseconds=1)
    with Traffic(nodes) as traffic:
        owned = [own_counters(*pair) for pair in (nodes, nodes[::-1])]
        traffic.wait_more(400)
        for key, update in owned:
            for node in nodes * 3:
                answer = node.post(f"{update}/updates", json={"amount": 2}, headers=key)
                assert answer.status_code == 200
        traffic.wait_more(100)
    traffic.check(begun, now())
    for _, path in owned:
        assert {node.get(path).json()["value"] for node in nodes} == {1000 + 6 * 2}
        until(
            lambda path=path: {node.status(f"{path}-brief") for node in nodes},
            20,
            "the brief one is gone",
            wanted={404},
        )
        # A set is no hit, and the updates are; the database's clock puts them where they belong.
        assert nodes[1].get(path).json()["rates"]["hour"] == 6 * 2
    no_slot_is_gone(single, environ)


def own_counters(maker, other):
    """Make counters through one node and check them through both; return one, and its key."""
    begun = now() - timedelta(milliseconds=1)
    name = f"own-{uuid.uuid4().hex}"
    brief = {"namespace": "clocks", "key": f"{name}-brief", "lifetime": 1}
    answer = maker.post("/api/v1/counters", json=brief)
    assert answer.status_code == 201
    made = maker.post("/api/v1/counters", json=brief | {"key": name, "lifetime": 3600}).json()
    assert begun <= moment(made["created"]) <= now()
    assert moment(made["expires"]) - moment(made["created"]) == timedelta(hours=1)
    key, path = {"Authorization": f"Bearer {made['admin_key']}"}, f"/api/v1/counters/clocks/{name}"
    put = requests.put(
        f"{maker.url}{path}/value", json={"value": 1000}, headers=key, timeout=ANSWER_SECONDS
    )
    assert put.json()["previous"] == 0
    for node in (maker, other):
        assert node.get(path).json()["value"] == 1000
    return key, path


def no_slot_is_gone(single, environ):
    """Check that each counter still knows the last batches of both nodes."""
    with single.client() as client:
        found = list(
            client[environ["COUNTERAPP_DATABASE"]].counters.find(
                {"_id": {"$in": [f"clocks/{key}" for key in KEYS]}}
            )
        )
    for document in found:
        slots = {slot.partition(":")[0] for slot in document["w"]}
        assert slots == {"web-1", "web-2"}


def test_a_clock_that_jumps_disturbs_nothing(nodes, clock):
    begun = now() - timedelta(milliseconds=1)
    with Traffic(nodes) as traffic:
        for offset in ("+61m", "-61m", "+1d", "-1d", "+0"):
            clock.put(offset)
            traffic.wait_more(120)
    traffic.check(begun, now())


def test_history_agrees_with_the_count_where_a_minute_turns(single, make_node):
    nodes = [make_node(single, name).start() for name in ("web-1", "web-2")]
    until(lambda: now().second, 70, "a minute is nearly over", wanted=lambda second: second >= 54)
    begun = now() - timedelta(milliseconds=1)
    with Traffic(nodes) as traffic:
        traffic.wait_each()
        until(
            lambda: len(history(nodes[0], KEYS[0], "minute")),
            20,
            "the database's minute is another",
            wanted=lambda minutes: minutes > 1,
        )
        traffic.wait_each()
    traffic.check(begun, now())
    for key in KEYS:
        points = history(nodes[1], key, "minute")
        assert len(points) > 1
        assert points[-1]["change"] > 0
