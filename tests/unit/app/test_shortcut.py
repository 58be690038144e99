"""A plain hit goes past the parser and Flask, and nobody can tell."""

import json
import time
from email.parser import BytesParser

import pytest
from counterapp import shortcut
from counterapp.clients import Client
from counterapp.counters import Counted, Key, Overloaded, StoreUnavailable
from counterapp.logs import AccessLog

HITS = "/api/v1/counters/site/visits/hits"
LINE = f"POST {HITS} HTTP/1.1\r\n".encode()
HOST = b"Host: here\r\n"


@pytest.mark.parametrize(
    ("fields", "request_id"),
    [
        (HOST, ""),
        (b"host: here\r\ncontent-length: 0\r\nx-request-id: one\r\n", "one"),
        (HOST + b"Content-Length:0\r\nConnection: Keep-Alive\r\nAccept: */*\r\n", ""),
        (HOST + b"X-REQUEST-ID:  not an ID \r\nX-Forwarded-For: 1.2.3.4\r\n", "not an ID"),
        (HOST + b"Origin: https://example.org\r\nContent-Type: text/plain\r\n", ""),
        (HOST + b"Authorization: Bearer x\r\nX-Empty:\r\n", ""),
    ],
)
def test_a_plain_hit_is_known_by_its_bytes(fields, request_id):
    found = shortcut.plain_hit(LINE + fields + b"\r\n")
    assert found[:2] == (Key("site", "visits"), request_id)


def test_what_a_balancer_adds_keeps_a_hit_on_the_short_way():
    found = shortcut.plain_hit(LINE + HOST + b"x-forwarded-for:  2001:db8::7 \r\n\r\n")
    assert found == (Key("site", "visits"), "", "2001:db8::7")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        LINE,
        LINE + b"\r\n",
        LINE + HOST,
        LINE + HOST + b"\r\nmore",
        LINE + HOST + b"\r\n" + LINE + HOST + b"\r\n",
        LINE.replace(b"\r", b"") + HOST + b"\r\n",
        LINE + HOST.replace(b"\r", b"") + b"\r\n",
        LINE.replace(b"1.1", b"1.0") + HOST + b"\r\n",
        LINE.replace(b"POST", b"post") + HOST + b"\r\n",
        LINE.replace(b"POST", b"GET") + HOST + b"\r\n",
        LINE.replace(b"/api", b"/API") + HOST + b"\r\n",
        LINE.replace(b"hits", b"hits?a=1") + HOST + b"\r\n",
        LINE.replace(b"hits", b"hits/") + HOST + b"\r\n",
        LINE.replace(b"visits", b"vi") + HOST + b"\r\n",
        LINE.replace(b"visits", b"v%20s") + HOST + b"\r\n",
        LINE.replace(b"visits", b"v" * 65) + HOST + b"\r\n",
        *(
            LINE + fields + b"\r\n\r\n"
            for fields in [
                b"Accept: */*",
                HOST + HOST.strip(),
                b"Host:",
                HOST + b"Content-Length: 5",
                HOST + b"Content-Length: 00",
                HOST + b"Content-Length: 0\r\nContent-length: 0",
                HOST + b"Transfer-Encoding: chunked",
                HOST + b"transfer-encoding:identity",
                HOST + b"Expect: 100-continue",
                HOST + b"Connection: close",
                HOST + b"Connection: keep-alive, Upgrade",
                HOST + b"Upgrade: h2c",
                HOST + b"Idempotency-Key: one",
                HOST + b"idempotency-key:",
                HOST + b"If-Match: *",
                HOST + b"If-None-Match: *",
                HOST + b"If-Unmodified-Since: now",
                HOST + b"X-Request-ID: one\r\nX-Request-ID: two",
                HOST + b"Content-Type: text/plain\r\nContent-type: text/plain",
                HOST + b"Sec-Purpose: prefetch",
                HOST + b"Purpose: prefetch",
                HOST + b"x-purpose: preview",
                HOST + b"X-Moz: prefetch",
                HOST + b"X-Folded: a\r\n b",
                HOST + b"Content-Length : 0",
                HOST + b"X_Under: 1",
                HOST + b": empty",
                HOST + b"no colon",
                HOST + b"X-Tab: a\tb",
                HOST + b"X-Latin: \xfc",
                HOST + b"X-Null: \0",
                HOST + b"X-Return: a\rb",
                HOST + b"\r\n".join(b"X-%d: 1" % number for number in range(51)),
            ]
        ),
    ],
)
def test_whatever_else_there_is_is_not_plain(data):
    assert shortcut.plain_hit(data) is None


@pytest.fixture
def way(app):
    return app.extensions[shortcut.EXTENSION]


def answer(way, request_id):
    """Return the fields, as sorted pairs, and the body of what the short way says."""
    hit = shortcut.Hit(Key("site", "visits"), request_id, "")
    head, _, body = way.answer(
        hit, Client("127.0.0.1", "127.0.0.1"), time.perf_counter()
    ).partition(b"\r\n\r\n")
    return sorted(BytesParser().parsebytes(head).items()), body


@pytest.mark.parametrize("origin", [{}, {"Origin": "https://example.org"}])
def test_the_answers_of_both_ways_are_the_same(way, client, store, monkeypatch, origin):
    monkeypatch.setattr(store, "hit", lambda key, idempotency_key=None, make=True: Counted(7))
    long = client.post(HITS, headers={"X-Request-ID": "one", **origin})
    assert long.status == "200 OK"
    assert answer(way, "one") == (sorted(long.headers), long.data)
    assert long.json["value"] == 7


def test_the_log_lines_of_both_ways_are_the_same(way, client, monkeypatch):
    lines = []

    def write(log, level, **fields):
        assert fields.pop("duration_ms") >= 0
        lines.append((level, fields))

    monkeypatch.setattr(AccessLog, "write", write)
    answer(way, "one")
    client.post(HITS, headers={"X-Request-ID": "one"})
    short, long = lines
    assert short == long
    assert short[1]["path"] == HITS


def test_both_ways_are_one_route_in_the_metrics(way, client, reader):
    answer(way, "")
    client.post(HITS)
    [line] = [
        line
        for line in reader.get("/metrics").text.splitlines()
        if line.startswith("counterapp_requests_total") and "hits" in line
    ]
    assert line.endswith(" 2.0")


def test_a_request_id_that_is_none_is_replaced(way):
    fields, _ = answer(way, "not an ID")
    assert dict(fields)["X-Request-ID"].isalnum()


@pytest.mark.parametrize(
    ("refusal", "status"), [(StoreUnavailable("Gone"), 503), (Overloaded("Too many"), 503)]
)
def test_a_refused_hit_is_answered_as_all_errors_are(
    way, client, store, monkeypatch, refusal, status
):
    asked = []

    def refuse(key, idempotency_key=None, make=True):
        asked.append(key)
        raise refusal

    monkeypatch.setattr(store, "hit", refuse)
    started = time.perf_counter()
    with pytest.raises(type(refusal)) as raised:
        answer(way, "one")
    with shortcut.failed(raised.value, started):
        answered = client.post(HITS, headers={"X-Request-ID": "one"})
    assert answered.status_code == status
    assert answered.content_type == "application/problem+json"
    assert answered.headers["Retry-After"]
    assert answered.headers["X-Request-ID"] == "one"
    # Asked again, the store might have counted it.
    assert len(asked) == 1
    # What comes next on the same thread has not failed.
    assert client.get("/livez").status_code == 200


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
