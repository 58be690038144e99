"""A plain hit goes past Flask, and nobody can tell."""

import json

import pytest
from counterapp.counters import Counted, Overloaded, StoreUnavailable
from counterapp.logs import AccessLog

HITS = "/api/v1/counters/site/visits/hits"


@pytest.fixture
def ways(client, store, monkeypatch):
    """Return a function that hits twice, the short way and the long, and gives both answers."""
    monkeypatch.setattr(store, "hit", lambda key, idempotency_key=None: Counted(7))

    def hit(**options):
        short = client.post(HITS, **options)
        monkeypatch.setattr("counterapp.shortcut._plain_hit", lambda environ: None)
        return short, client.post(HITS, **options)

    return hit


def test_the_answers_of_both_ways_are_the_same(ways):
    short, long = ways(headers={"X-Request-ID": "one", "Origin": "https://example.org"})
    assert short.status == long.status
    assert short.data == long.data
    assert sorted(short.headers) == sorted(long.headers)
    assert short.json["value"] == 7


def test_the_log_lines_of_both_ways_are_the_same(ways, monkeypatch):
    lines = []

    def write(log, level, **fields):
        assert fields.pop("duration_ms") >= 0
        lines.append((level, fields))

    monkeypatch.setattr(AccessLog, "write", write)
    ways(headers={"X-Request-ID": "one"})
    short, long = lines
    assert short == long
    assert short[1]["path"] == HITS


def test_both_ways_are_one_route_in_the_metrics(ways, client):
    ways()
    [line] = [
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("counterapp_requests_total") and "hits" in line
    ]
    assert line.endswith(" 2.0")


def test_a_request_id_that_is_none_is_replaced(client):
    answered = client.post(HITS, headers={"X-Request-ID": "not an ID"})
    assert answered.headers["X-Request-ID"].isalnum()


@pytest.mark.parametrize(
    ("refusal", "status"), [(StoreUnavailable("Gone"), 503), (Overloaded("Too many"), 429)]
)
def test_a_refused_hit_is_answered_as_all_errors_are(client, store, monkeypatch, refusal, status):
    asked = []

    def refuse(key, idempotency_key=None):
        asked.append(key)
        raise refusal

    monkeypatch.setattr(store, "hit", refuse)
    answered = client.post(HITS, headers={"X-Request-ID": "one"})
    assert answered.status_code == status
    assert answered.content_type == "application/problem+json"
    assert answered.headers["Retry-After"]
    assert answered.headers["X-Request-ID"] == "one"
    # Asked again, the store might have counted it.
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        (HITS, {"data": b"5"}, 400),
        (HITS + "?amount=5", {}, 400),
        (HITS, {"headers": {"Idempotency-Key": "ü"}}, 400),
        (HITS, {"headers": {"If-Match": "*"}}, 400),
        ("/api/v1/counters/site/x/hits", {}, 400),
        ("/api/v1/counters/site/visits/hits/", {}, 404),
    ],
)
def test_what_is_not_plain_is_looked_at_by_flask(client, store, path, options, status):
    answered = client.post(path, **options)
    assert answered.status_code == status, json.dumps(answered.json)
