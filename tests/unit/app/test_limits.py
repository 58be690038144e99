"""One client makes and imports so much in an hour, and does not touch what others may."""

import time
from dataclasses import replace

import pytest
from counterapp import limits, shortcut
from counterapp.app import create_app
from counterapp.clients import Client
from counterapp.counters import Key, StoreUnavailable
from counterapp.limits import Allowance, OverLimit, Places

BALANCER = "192.168.33.21"
ONE, OTHER = "203.0.113.7", "203.0.113.8"
HITS = "/api/v1/counters/site/{}/hits"


class Clock:
    """Seconds that a test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_an_allowance_comes_back_evenly(clock):
    allowance = Allowance(4, clock)
    assert [allowance.take(ONE) for _ in range(5)] == [True] * 4 + [False]
    assert allowance.take(OTHER)
    assert allowance.after(ONE) == 900
    clock.now += 899
    assert not allowance.take(ONE)
    assert allowance.after(ONE) == 1
    clock.now += 1
    assert [allowance.take(ONE) for _ in range(2)] == [True, False]
    clock.now += 3600
    assert [allowance.take(ONE) for _ in range(5)] == [True] * 4 + [False]


def test_several_are_taken_together_or_not_at_all(clock):
    allowance = Allowance(100, clock)
    assert allowance.take(ONE, 60)
    assert not allowance.take(ONE, 41)
    assert allowance.after(ONE, 41) == 36
    assert allowance.take(ONE, 40)


def test_what_is_given_back_is_there_again(clock):
    allowance = Allowance(3, clock)
    for _ in range(1000):
        assert allowance.take(ONE)
        allowance.give_back(ONE)
    assert len(allowance) == 0
    assert [allowance.take(ONE) for _ in range(4)] == [True] * 3 + [False]
    # Never more than there was.
    for _ in range(10):
        allowance.give_back(OTHER)
    assert [allowance.take(OTHER) for _ in range(4)] == [True] * 3 + [False]


def test_clients_that_have_everything_again_are_forgotten(clock):
    allowance = Allowance(10, clock)
    for number in range(50_000):
        clock.now += 1
        assert allowance.take(str(number))
        # Each has all again after six minutes.
        assert len(allowance) <= 2000


def counted(method, calls):
    def call(self, now):
        calls.append(now)
        method(self, now)

    return call


def test_far_too_many_clients_are_forgotten_however_little_they_have(clock, monkeypatch):
    monkeypatch.setattr(limits, "MOST_GROUPS", 2000)
    looks = []
    monkeypatch.setattr(Allowance, "_forget", counted(Allowance._forget, looks))
    allowance = Allowance(10, clock)
    for number in range(50_000):
        assert allowance.take(str(number))
        assert len(allowance) <= 2000
    # One look at all of them is no work for each new one.
    assert len(looks) <= 51


def test_places_are_left_to_the_next():
    places = Places(2)
    assert [places.take(ONE) for _ in range(3)] == [True, True, False]
    assert places.take(OTHER)
    places.leave(ONE)
    assert [places.take(ONE) for _ in range(2)] == [True, False]
    for group in (ONE, ONE, OTHER):
        places.leave(group)
    assert not places._taken


@pytest.fixture
def app(settings, store):
    return create_app(
        replace(settings, client_creations=3, client_imports=5, balancers=frozenset({BALANCER})),
        store,
    )


@pytest.fixture
def client(app):
    """One client, by way of a balancer."""
    client = app.test_client()
    client.environ_base |= {"REMOTE_ADDR": BALANCER, "HTTP_X_FORWARDED_FOR": ONE}
    return client


@pytest.fixture
def other(app):
    client = app.test_client()
    client.environ_base |= {"REMOTE_ADDR": BALANCER, "HTTP_X_FORWARDED_FOR": OTHER}
    return client


def shortly(app, name):
    """Hit a counter on the short way; return the status."""
    hit = shortcut.Hit(Key("site", name), "", "")
    try:
        app.extensions[shortcut.EXTENSION].answer(hit, Client(ONE, ONE), time.perf_counter())
    except OverLimit:
        return 429
    return 200


WAYS = {
    "v1 hit": lambda client, name: client.post(HITS.format(name)).status_code,
    "v1 create": lambda client, name: (
        client.post("/api/v1/counters", json={"namespace": "site", "key": name}).status_code
    ),
    "compat hit": lambda client, name: client.get(f"/hit/site/{name}").status_code,
    "compat create": lambda client, name: client.get(f"/create/site/{name}").status_code,
    "short": lambda client, name: shortly(client.application, name),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_makes_so_many_counters_and_no_more(client, other, store, way):
    ask = WAYS[way]
    answers = [ask(client, f"page{number}") for number in range(5)]
    assert [answer < 300 for answer in answers] == [True] * 3 + [False] * 2
    assert answers[3:] == [429] * 2
    # What is there is counted all the same, and others make theirs.
    assert client.post(HITS.format("page0")).status_code == 200
    assert shortly(client.application, "page1") == 200
    assert client.get("/hit/site/page2").status_code == 200
    assert other.post(HITS.format("other")).status_code == 200
    assert store.totals().counters == 4


@pytest.mark.parametrize("path", [HITS.format("page3"), "/hit/site/page3"])
def test_the_refusal_says_when_to_come_again(client, path):
    for number in range(3):
        client.post(HITS.format(f"page{number}"))
    answer = client.post(path)
    assert answer.status_code == 429
    assert 1190 <= int(answer.headers["Retry-After"]) <= 1200
    said = answer.json.get("detail") or answer.json["error"]
    assert "may make 3 counters an hour" in said
    assert "are there go on" in said


def test_what_made_nothing_costs_nothing(client, store):
    client.post(HITS.format("page0"))
    for _ in range(10):
        client.post(HITS.format("page0"))
        client.get("/hit/site/page0")
        assert client.get("/create/site/page0").status_code == 409
        assert client.post(HITS.format("x")).status_code == 400
    store.broken = "Gone"
    for _ in range(10):
        assert client.post(HITS.format("page1")).status_code == 503
        assert client.get("/create/site/page1").status_code == 503
        assert client.post("/api/v1/counters", json={}).status_code == 503
    store.broken = None
    answers = [client.post(HITS.format(f"page{number}")).status_code for number in range(1, 5)]
    assert answers == [200, 200, 429, 429]


def test_a_key_that_was_used_up_is_answered_again(client):
    first = client.post(HITS.format("page0"), headers={"Idempotency-Key": "one"})
    for number in range(1, 3):
        client.post(HITS.format(f"page{number}"))
    again = client.post(HITS.format("page0"), headers={"Idempotency-Key": "one"})
    assert (again.json["value"], again.json["replayed"]) == (first.json["value"], True)


def test_an_import_beyond_the_allowance_is_refused_as_a_whole(client, other, store):
    def take(client, *names):
        return client.post("/api/v1/import", json=[{"key": name, "value": 1} for name in names])

    assert take(client, "aaa", "bbb", "ccc").json["taken"] == 3
    refused = take(client, "ddd", "eee", "fff")
    assert refused.status_code == 429
    assert "None of them was taken" in refused.json["detail"]
    assert 715 <= int(refused.headers["Retry-After"]) <= 720
    assert store.read(Key("default", "ddd")) is None
    assert take(client, "ddd", "eee").json["taken"] == 2
    assert take(other, "fff").json["taken"] == 1
    # What was imported is not what was made.
    assert client.post(HITS.format("page")).status_code == 200


def test_what_an_import_did_not_come_to_is_there_for_the_rest(client, store):
    records = [{"key": f"name{number}", "value": 1} for number in range(4)]
    store.broken = "Gone"
    for _ in range(3):
        assert client.post("/api/v1/import", json=records).status_code == 503
    store.broken = None
    assert client.post("/api/v1/import", json=records).json["taken"] == 4


def test_the_store_is_asked_to_make_none_when_none_may_be_made(store, client, monkeypatch):
    asked = []
    hit = store.hit

    def note(key, idempotency_key=None, *, make=True):
        asked.append(make)
        return hit(key, idempotency_key, make=make)

    monkeypatch.setattr(store, "hit", note)
    for number in range(4):
        client.post(HITS.format(f"page{number}"))
    assert asked == [True] * 3 + [False]


def test_an_unexpected_error_gives_back_too(store, client):
    store.bug = RuntimeError("a bug")
    for _ in range(5):
        assert client.post(HITS.format("page")).status_code == 500
    store.bug = StoreUnavailable("gone")
    assert client.post(HITS.format("page")).status_code == 503
    store.bug = None
    assert client.post(HITS.format("page")).status_code == 200
