"""Streams of events: the present value at once, each change after it, and no place lost."""

import json
import threading
import time

import pytest
from counterapp import stream, watch
from counterapp.counters import Change, Key
from counterapp.watch import Full, Watch

from tests.support.waiting import until

PAGE = Key("default", "page")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waiting is what these times are for; a test has better things to do."""
    monkeypatch.setattr(watch, "PAUSE", 0.01)
    monkeypatch.setattr(stream, "SETTLED", 0.05)
    monkeypatch.setattr(stream, "HEARTBEAT", 0.2)


@pytest.fixture
def follow(client, store):
    """Return a function that opens a stream and returns an iterator over what is sent."""
    opened = []

    def begin(path="/stream/page", settled=True):
        answer = client.get(path, buffered=False)
        opened.append(answer)
        assert answer.status_code == 200, answer.text
        assert answer.mimetype == "text/event-stream"
        assert store.watching.wait(5)
        if settled:
            time.sleep(stream.SETTLED)
        return (block.decode() for block in answer.response)

    yield begin
    for answer in opened:
        answer.close()


def fields(block):
    return dict(line.split(": ", 1) for line in block.strip().splitlines() if ": " in line)


def data(block):
    return json.loads(fields(block)["data"])


def test_the_present_value_comes_at_once(client, follow):
    client.get("/create/page?value=5")
    first = next(follow())
    assert fields(first)["id"] == "5"
    assert fields(first)["retry"] == "500"
    assert data(first) == {"value": 5, "node": None}
    assert first.endswith("\n\n")


def test_each_change_comes_with_the_node_that_counted_it(client, follow):
    client.get("/hit/page")
    events = follow()
    next(events)
    for value in (2, 3):
        client.get("/hit/page")
        event = next(events)
        assert data(event) == {"value": value, "node": "web-1"}
        assert fields(event)["id"] == str(value)
    client.get("/update/page?amount=1")
    assert data(next(events)) == {"value": 4, "node": None}


def test_a_stream_ends_in_time_for_its_node_to_be_drained(client, follow, monkeypatch):
    monkeypatch.setattr(stream, "LIFE", 0.5)
    client.get("/hit/page")
    began = time.monotonic()
    assert set(list(follow())[1:]) == {":\n\n"}
    assert 0.3 < time.monotonic() - began < 5


def test_other_counters_are_not_told_of(client, follow):
    client.get("/hit/page")
    events = follow()
    next(events)
    client.get("/hit/other")
    assert next(events) == ":\n\n"


def test_silence_is_broken_by_comments(client, follow):
    client.get("/hit/page")
    events = follow()
    assert [next(events) for _ in range(3)][1:] == [":\n\n", ":\n\n"]


def test_who_is_slow_gets_the_newest_value_only(client, follow):
    client.get("/hit/page")
    events = follow()
    next(events)
    for _ in range(500):
        client.get("/hit/page")
    until(lambda: data(next(events))["value"], 5, "the newest value comes", wanted=501)
    assert next(events) == ":\n\n"


def test_a_late_change_does_not_turn_a_fresh_stream_back(client, store, follow):
    client.get("/create/page?value=11")
    events = follow(settled=False)
    assert data(next(events))["value"] == 11
    store._tell(Change(PAGE, 10))
    assert next(events) == ":\n\n"


def test_a_missed_change_is_made_good(client, store, follow, monkeypatch):
    client.get("/hit/page")
    events = follow()
    next(events)
    monkeypatch.setattr(store, "_tell", lambda change: None)
    client.get("/hit/page")
    assert data(next(events))["value"] == 2


def test_a_removed_counter_ends_the_stream(client, follow):
    key = client.get("/create/page").json["admin_key"]
    events = follow()
    next(events)
    client.get(f"/delete/page?token={key}")
    last = next(events)
    assert fields(last)["event"] == "removed"
    assert list(events) == []


def test_a_lost_database_makes_it_stale_until_the_next_value(client, store, follow):
    client.get("/hit/page")
    events = follow()
    next(events)
    store.broken = "gone"
    store.end_changes()
    assert fields(next(events))["event"] == "stale"
    assert next(events) == ":\n\n"
    store.broken = None
    assert data(next(events)) == {"value": 1, "node": None}
    assert store.watching.wait(5)
    client.get("/hit/page")
    assert data(next(events))["value"] == 2


def test_a_bug_in_the_watch_is_logged_and_does_not_end_it(client, store, follow, caplog):
    client.get("/hit/page")
    events = follow()
    next(events)
    store.end_changes(ZeroDivisionError("a bug"))
    assert store.watching.wait(5)
    client.get("/hit/page")
    assert data(next(events))["value"] == 2
    assert "unexpected error" in caplog.text


def test_the_services_own_counter_is_there_from_the_start(follow):
    assert data(next(follow("/stream/shared")))["value"] == 0


def test_a_counter_that_is_not_there_is_waited_for(client, follow):
    events = follow("/stream/nobody")
    first = next(events)
    assert fields(first) == {"retry": "500"}
    # Something comes at once, by which a browser knows that the stream is open.
    assert first.endswith("\n\n")
    assert next(events) == ":\n\n"
    client.get("/hit/nobody")
    assert data(next(events)) == {"value": 1, "node": "web-1"}
    client.get("/hit/nobody")
    assert data(next(events)) == {"value": 2, "node": "web-1"}


def test_a_first_hit_that_falls_into_the_begin_is_not_missed(client, store, follow, monkeypatch):
    events = follow("/stream/nobody", settled=False)
    next(events)
    # Only looking it up finds it.
    monkeypatch.setattr(store, "_tell", lambda change: None)
    client.get("/hit/nobody")
    assert data(next(events))["value"] == 1


def test_after_a_counter_was_removed_a_new_one_of_its_name_is_waited_for(client, follow):
    key = client.get("/create/page").json["admin_key"]
    events = follow()
    next(events)
    client.get(f"/delete/page?token={key}")
    assert fields(next(events))["event"] == "removed"
    again = follow()
    assert "data" not in fields(next(again))
    client.get("/hit/page")
    assert data(next(again))["value"] == 1


def test_who_waits_for_a_first_hit_has_no_value_that_could_be_stale(client, store, follow):
    events = follow("/stream/nobody")
    next(events)
    store.broken = "gone"
    store.end_changes()
    assert [next(events), next(events)] == [":\n\n"] * 2
    store.broken = None
    assert store.watching.wait(5)
    client.get("/hit/nobody")
    assert data(next(events))["value"] == 1


def test_what_cannot_be_streamed_is_a_problem_and_takes_no_place(client, app):
    answer = client.get("/stream/a/b")
    assert answer.status_code == 400
    assert answer.mimetype == "application/problem+json"
    assert app.extensions["counterapp.watch"].count() == 0


def test_a_lost_database_at_the_begin_is_a_503(client, store, app):
    store.broken = "gone"
    answer = client.get("/stream/page")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert app.extensions["counterapp.watch"].count() == 0


def test_a_head_request_takes_no_place(client, app):
    for path in ("/stream/nobody", "/stream/shared"):
        answer = client.head(path)
        assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    assert app.extensions["counterapp.watch"].count() == 0


def test_the_headers_let_nobody_keep_or_hold_back_anything(client, follow):
    client.get("/hit/page")
    answer = client.get("/stream/page", buffered=False)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    answer.close()


def open_as(client, address):
    """Open a stream as another client."""
    return client.get("/stream/page", buffered=False, environ_overrides={"REMOTE_ADDR": address})


def test_streams_beyond_the_limit_are_refused_until_one_ends(client, reader, app, settings):
    client.get("/hit/page")
    open_ = [open_as(client, f"192.0.2.{number}") for number in range(settings.max_streams)]
    assert {answer.status_code for answer in open_} == {200}
    refused = client.get("/stream/page")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert "counterapp_streams 200.0" in reader.get("/metrics").text
    open_.pop().close()
    last = client.get("/stream/page", buffered=False)
    assert last.status_code == 200
    for answer in [*open_, last]:
        answer.close()
    assert app.extensions["counterapp.watch"].count() == 0


def test_one_client_has_its_share_of_the_streams_and_no_more(client, app, settings):
    client.get("/hit/page")
    # Of IPv6, a network is one client: it chooses the rest of its address itself.
    open_ = [open_as(client, f"2001:db8::{number}") for number in range(settings.client_streams)]
    assert {answer.status_code for answer in open_} == {200}
    refused = open_as(client, "2001:db8::ffff")
    assert refused.status_code == 429
    assert "close some" in refused.json["detail"]
    assert refused.headers["Retry-After"]
    open_.append(open_as(client, "2001:db8:0:1::"))
    assert open_[-1].status_code == 200
    open_.pop(0).close()
    open_.append(open_as(client, "2001:db8::ffff"))
    assert open_[-1].status_code == 200
    for answer in open_:
        answer.close()
    assert app.extensions["counterapp.watch"].count() == 0


def test_a_stopping_process_ends_its_streams_and_opens_no_more(client, app, follow):
    client.get("/hit/page")
    events = follow()
    next(events)
    threading.Timer(0.05, app.extensions["counterapp.watch"].close).start()
    assert [event for event in events if event != ":\n\n"] == []
    assert client.get("/stream/page").status_code == 503


def test_one_thread_serves_everybody(store):
    # One of an earlier test may end meanwhile.
    before = set(threading.enumerate())
    everybody = Watch(store, 50, 50)
    open_ = [everybody.open(Key("default", f"page{n % 7}"), "::1") for n in range(50)]
    assert len(set(threading.enumerate()) - before) == 1
    with pytest.raises(Full):
        everybody.open(PAGE, "::1")
    assert store.watching.wait(5)
    store.hit(Key("default", "page3"))
    got = [
        subscription.wait(5 if subscription.key.name == "page3" else 0) for subscription in open_
    ]
    assert [change.value for change in got if change] == [1] * 7
    for subscription in open_:
        everybody.drop(subscription)
        everybody.drop(subscription)
    assert everybody.count() == 0
    assert not everybody._waiting


def test_changes_are_not_looked_at_while_nobody_waits_for_them(store, monkeypatch):
    monkeypatch.setattr(watch, "IDLE", 0.1)
    everybody = Watch(store, 50, 50)
    for value in (1, 2):
        subscription = everybody.open(PAGE, "::1")
        assert store.watching.wait(5)
        # One that waits keeps it going, however long nothing happens.
        time.sleep(0.3)
        store.hit(PAGE)
        assert subscription.wait(5) == Change(PAGE, value, "web-1")
        everybody.drop(subscription)
        until(store.watching.is_set, 5, "the watch has ended", wanted=False)
