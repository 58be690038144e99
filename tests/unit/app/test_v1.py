"""Counters as ``/api/v1`` shows and changes them. Each answer is held against its document, too."""

from datetime import UTC, datetime, timedelta

import pytest
from counterapp.counters import LARGEST, Key, StoreUnavailable, Totals

from tests.unit.app.test_app import assert_problem

COUNTERS = "/api/v1/counters"


def create(client, **plan):
    response = client.post(COUNTERS, json=plan)
    assert response.status_code == 201, response.get_json()
    return response.get_json()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


# Hits


def test_a_hit_makes_the_counter_and_tells_its_value(client):
    response = client.post(f"{COUNTERS}/blog/post-1/hits")
    assert response.status_code == 200
    assert response.get_json() == {
        "namespace": "blog",
        "key": "post-1",
        "value": 1,
        "replayed": False,
        "node": "web-1",
        "release": "1.2.3",
    }
    assert client.post(f"{COUNTERS}/blog/post-1/hits").get_json()["value"] == 2


def test_counters_are_apart(client):
    client.post(f"{COUNTERS}/one/same/hits")
    assert client.post(f"{COUNTERS}/two/same/hits").get_json()["value"] == 1


def test_an_idempotency_key_counts_once(client):
    once = {"Idempotency-Key": "a-b.c:1"}
    first = client.post(f"{COUNTERS}/blog/post-1/hits", headers=once).get_json()
    client.post(f"{COUNTERS}/blog/post-1/hits")
    again = client.post(f"{COUNTERS}/blog/post-1/hits", headers=once).get_json()
    assert (first["value"], first["replayed"]) == (1, False)
    assert (again["value"], again["replayed"]) == (1, True)
    assert client.get(f"{COUNTERS}/blog/post-1").get_json()["value"] == 2


def test_an_idempotency_key_that_was_for_something_else_is_refused(client):
    once = {"Idempotency-Key": "abc"}
    client.post(f"{COUNTERS}/blog/post-1/hits", headers=once)
    path = f"{COUNTERS}/blog/post-1/updates"
    assert_problem(client.post(path, json={"amount": 1}, headers=once), 422, "something else")


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "ünïcode", "tab\t"])
def test_a_bad_idempotency_key_is_refused_and_not_counted(client, key):
    response = client.post(
        f"{COUNTERS}/blog/post-1/hits", headers={"Idempotency-Key": key.encode().decode("latin-1")}
    )
    assert_problem(response, 400, "Idempotency-Key")
    assert client.get(f"{COUNTERS}/blog/post-1").status_code == 404


@pytest.mark.parametrize("method", ["get", "delete"])
@pytest.mark.parametrize(
    "name", ["ab", "x" * 65, "with space", "ünïcode", "%00abc", "%ff%fe%fd", "a%0Ab", "$inc", "٣٣٣"]
)
def test_a_bad_name_is_refused(client, method, name):
    call = getattr(client, method)
    assert_problem(call(f"{COUNTERS}/default/{name}"), 400, "A key has 3 to 64")
    assert_problem(call(f"{COUNTERS}/{name}/default"), 400, "A namespace has 3 to 64")
    assert_problem(client.post(f"{COUNTERS}/{name}/default/hits"), 400, "3 to 64")


@pytest.mark.parametrize(
    "name", ["hits", "value", "history", "operator", "import", "...", "---", "constructor", "_id"]
)
def test_a_word_that_means_something_elsewhere_is_a_name_like_any_other(client, name):
    assert client.post(f"{COUNTERS}/{name}/{name}/hits").get_json()["value"] == 1
    assert client.get(f"{COUNTERS}/{name}/{name}").get_json()["key"] == name


def test_a_hit_takes_no_body(client):
    response = client.post(f"{COUNTERS}/blog/post-1/hits", json={"amount": 5})
    assert_problem(response, 400, "takes no body")
    assert client.get(f"{COUNTERS}/blog/post-1").status_code == 404


@pytest.mark.parametrize("path", [f"{COUNTERS}/blog/post-1/hits", COUNTERS])
def test_a_large_body_is_refused_unread(client, path):
    assert_problem(client.post(path, data=b"x" * 20_000, content_type="application/json"), 413)
    announced = {"CONTENT_LENGTH": "99999999999"}
    response = client.post(path, content_type="application/json", environ_overrides=announced)
    assert_problem(response, 413)


def test_no_value_leaves_what_every_json_reader_keeps(client):
    key = create(client, namespace="big", key="big", value=LARGEST, step=-1)["admin_key"]
    path = f"{COUNTERS}/big/big/updates"
    assert_problem(client.post(path, json={"amount": 1}, headers=bearer(key)), 422, "2^53")
    down = {"amount": -LARGEST}
    assert client.post(path, json=down, headers=bearer(key)).get_json()["value"] == 0
    # What it went by in a day is bounded as its value is.
    assert_problem(client.post(path, json=down, headers=bearer(key)), 422, "2^53")
    create(client, namespace="big", key="low", value=-LARGEST, step=-1)
    assert_problem(client.post(f"{COUNTERS}/big/low/hits"), 422, "2^53")


# Creation


def test_a_counter_is_made_as_asked_and_its_key_told_once(client):
    response = client.post(
        COUNTERS,
        json={
            "namespace": "blog",
            "key": "post-1",
            "value": -5,
            "step": 3,
            "lower": -10,
            "upper": None,
            "resettable": False,
            "lifetime": 3600,
        },
    )
    assert response.status_code == 201
    assert response.headers["Location"] == f"{COUNTERS}/blog/post-1"
    made = response.get_json()
    assert len(made.pop("admin_key")) >= 32
    seen = client.get(response.headers["Location"]).get_json()
    assert seen == made
    wanted = {"value": -5, "step": 3, "lower": -10, "upper": None, "resettable": False}
    assert wanted.items() <= seen.items()
    assert seen["owned"] is True
    life = datetime.fromisoformat(seen["expires"]) - datetime.fromisoformat(seen["created"])
    assert life == timedelta(hours=1)
    assert client.post(f"{COUNTERS}/blog/post-1/hits").get_json()["value"] == -2


def test_a_counter_without_a_name_gets_one(client):
    first, second = create(client), create(client)
    assert first["namespace"] == "default"
    assert first["key"] != second["key"]
    assert first["admin_key"] != second["admin_key"]
    assert first["expires"] is None


def test_several_counters_go_under_one_key(client):
    key = create(client, key="first")["admin_key"]
    response = client.post(COUNTERS, json={"key": "second"}, headers=bearer(key))
    assert response.status_code == 201
    assert "admin_key" not in response.get_json()
    assert client.delete(f"{COUNTERS}/default/second", headers=bearer(key)).status_code == 204


def test_a_short_key_can_own_nothing(client):
    response = client.post(COUNTERS, json={}, headers=bearer("password"))
    assert_problem(response, 422, "at least 32")


def test_an_unanswered_creation_tells_what_to_try_again_with(client, store, monkeypatch):
    whole = store.create

    def unanswered(key, plan, admin):
        whole(key, plan, admin)
        raise StoreUnavailable("No majority of the database acknowledged in time")

    monkeypatch.setattr(store, "create", unanswered)
    told = client.post(COUNTERS, json={"value": 3})
    assert_problem(told, 503, "No majority")
    body = told.get_json()
    name, key = f"{body['namespace']}/{body['key']}", bearer(body["admin_key"])
    given = client.post(COUNTERS, json={"key": "other"}, headers=key)
    assert_problem(given, 503)
    assert given.get_json()["key"] == "other"
    assert "admin_key" not in given.get_json()
    monkeypatch.undo()
    again = client.post(
        COUNTERS, json={"namespace": body["namespace"], "key": body["key"]}, headers=key
    )
    assert_problem(again, 409, name)
    mine = client.get(COUNTERS, headers=key).get_json()["items"]
    assert [each["key"] for each in mine] == sorted([body["key"], "other"])


def test_a_name_is_given_once(client):
    create(client, key="mine")
    assert_problem(client.post(COUNTERS, json={"key": "mine"}), 409, "default/mine")
    client.post(f"{COUNTERS}/default/found/hits")
    assert_problem(client.post(COUNTERS, json={"key": "found"}), 409)


@pytest.mark.parametrize(
    ("plan", "part"),
    [
        ({"name": "x"}, '"name" is no field'),
        ({"key": "ab"}, '"key" must be 3 to 64'),
        ({"key": "a\ud800b"}, '"key" must be 3 to 64'),
        ({"key": None}, '"key" must be'),
        ({"namespace": 5}, '"namespace" must be'),
        ({"value": "5"}, '"value" must be a whole number'),
        ({"value": True}, '"value" must be a whole number'),
        ({"value": 1.5}, '"value" must be a whole number'),
        ({"value": 1e-300}, '"value" must be a whole number'),
        ({"value": 1e300}, '"value" must be a whole number'),
        ({"value": LARGEST + 1}, '"value" must be a whole number'),
        ({"value": -(10**400)}, '"value" must be a whole number'),
        ({"step": 0}, '"step" must not be 0'),
        ({"step": None}, '"step" must be a whole number'),
        ({"lower": [1]}, '"lower" must be a whole number'),
        ({"lower": 2, "upper": 1}, "Lower must not be above upper"),
        ({"resettable": 1}, '"resettable" must be true or false'),
        ({"lifetime": 0}, '"lifetime" must be a whole number from 1'),
        ({"lifetime": 10**12}, '"lifetime" must be a whole number from 1'),
        ([], "must be a JSON object"),
        ("text", "must be a JSON object"),
        ({str(n): n for n in range(500)}, "495 more"),
    ],
)
def test_what_is_no_plan_is_refused_and_says_why(client, plan, part):
    assert_problem(client.post(COUNTERS, json=plan), 422, part)


@pytest.mark.parametrize(
    "number",
    [
        "9007199254740990.5",
        "0.1",
        "1e16",
        "-1e400",
        "1e999999",
        "1e-999999",
        "1e99999999999999999999",
        "-1e-99999999999999999999",
        "9007199254740992.0",
    ],
)
def test_a_number_that_is_not_whole_is_not_rounded(client, number):
    body = b'{"value": %s}' % number.encode()
    response = client.post(COUNTERS, data=body, content_type="application/json")
    assert_problem(response, 422, '"value" must be a whole number')


@pytest.mark.parametrize(
    ("number", "value"),
    [("1.0", 1), ("1e3", 1000), ("-0.0", 0), ("9007199254740991.00", LARGEST), ("50e-1", 5)],
)
def test_a_whole_number_is_one_however_it_is_written(client, number, value):
    body = b'{"value": %s}' % number.encode()
    response = client.post(COUNTERS, data=body, content_type="application/json")
    assert response.get_json()["value"] == value


def test_everything_that_is_wrong_is_said_at_once(client):
    response = client.post(COUNTERS, json={"x": 1, "value": "", "step": 0})
    detail = response.get_json()["detail"]
    assert detail.startswith('"x" is no field here; "value" must be a whole number')
    assert '; "step" must not be 0.' in detail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"{",
        b"{} {}",
        b'{"value": NaN}',
        b'{"value": Infinity}',
        b'{"value": 1, "value": 2}',
        b'{"value": 01}',
        b"{'value': 1}",
        b"\xff\xfe",
        b'{"key": "\xff"}',
        b"[" * 10_000,
        b'{"value": ' + b"9" * 10_000 + b"}",
    ],
)
def test_broken_json_is_refused(client, body):
    response = client.post(COUNTERS, data=body, content_type="application/json")
    assert_problem(response, 400)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "json", "a/"]
)
def test_another_media_type_is_refused(client, kind):
    assert_problem(client.post(COUNTERS, data=b"{}", content_type=kind), 415)


def test_a_media_type_may_have_parameters_and_a_body_a_byte_order_mark(client):
    kind = "application/JSON; charset=utf-8"
    body = b'\xef\xbb\xbf{"key": "marked"}'
    assert client.post(COUNTERS, data=body, content_type=kind).status_code == 201


# Changes by the owner


def test_an_owner_updates_sets_and_deletes(client):
    key = create(client, key="mine", value=10)["admin_key"]
    path = f"{COUNTERS}/default/mine"
    updated = client.post(f"{path}/updates", json={"amount": -3}, headers=bearer(key)).get_json()
    assert (updated["value"], updated["replayed"]) == (7, False)
    put = client.put(f"{path}/value", json={"value": 100}, headers=bearer(key)).get_json()
    assert (put["previous"], put["value"]) == (7, 100)
    gone = client.delete(path, headers=bearer(key))
    assert (gone.status_code, gone.data) == (204, b"")
    assert client.get(path).status_code == 404


CHANGES = [
    ("POST", "/updates", {"amount": 1}),
    ("PUT", "/value", {"value": 1}),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(("method", "rest", "body"), CHANGES)
def test_nobody_else_does(client, method, rest, body):
    create(client, key="mine")
    path = f"{COUNTERS}/default/mine{rest}"
    anonymous = client.open(path, method=method, json=body)
    assert_problem(anonymous, 401, "Bearer")
    assert anonymous.headers["WWW-Authenticate"].startswith("Bearer")
    assert_problem(client.open(path, method=method, json=body, headers=bearer("wrong")), 403)
    assert client.get(f"{COUNTERS}/default/mine").get_json()["value"] == 0


@pytest.mark.parametrize(("method", "rest", "body"), CHANGES)
def test_a_counter_that_is_not_there_cannot_be_changed(client, method, rest, body):
    path = f"{COUNTERS}/default/nobody{rest}"
    answer = client.open(path, method=method, json=body, headers=bearer("0" * 36))
    assert_problem(answer, 404, "default/nobody")


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "Bearer ü", "Bearer " + "x" * 5000],
)
def test_an_authorization_that_is_none_is_refused(client, header):
    create(client, key="mine")
    headers = {"Authorization": header.encode().decode("latin-1")}
    assert_problem(client.delete(f"{COUNTERS}/default/mine", headers=headers), 401, "Bearer")


def test_a_key_in_the_query_is_not_taken(client):
    key = create(client, key="mine")["admin_key"]
    response = client.delete(f"{COUNTERS}/default/mine?admin_key={key}")
    assert_problem(response, 400, "no query parameter")
    assert key.encode() not in response.data


def test_a_counter_that_is_not_resettable_cannot_be_set_even_by_its_owner(client):
    key = create(client, key="mine", resettable=False)["admin_key"]
    path = f"{COUNTERS}/default/mine/value"
    assert_problem(client.put(path, json={"value": 1}, headers=bearer(key)), 403, "not resettable")


def test_an_amount_beyond_the_bounds_is_refused(client):
    key = create(client, key="mine", lower=-1, upper=5)["admin_key"]
    path = f"{COUNTERS}/default/mine/updates"
    assert_problem(client.post(path, json={"amount": 6}, headers=bearer(key)), 422)
    assert client.post(path, json={"amount": 5}, headers=bearer(key)).status_code == 200


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({}, '"amount" is missing'),
        ({"amount": None}, '"amount" must be'),
        ({"amount": 1.5}, '"amount" must be'),
        ({"amount": 1, "more": 1}, '"more" is no field'),
    ],
)
def test_an_update_that_is_none_is_refused(client, body, part):
    create(client, key="mine")
    assert_problem(client.post(f"{COUNTERS}/default/mine/updates", json=body), 422, part)


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match", "If-Unmodified-Since"])
def test_a_change_under_a_condition_is_refused_rather_than_made_without(client, header):
    response = client.post(f"{COUNTERS}/blog/post-1/hits", headers={header: '"x"'})
    assert_problem(response, 400, header)
    assert client.get(f"{COUNTERS}/blog/post-1").status_code == 404


# Looking


def test_an_unchanged_counter_is_not_sent_again(client, store):
    store.now = datetime(2026, 1, 1, tzinfo=UTC)
    client.post(f"{COUNTERS}/blog/post-1/hits")
    path = f"{COUNTERS}/blog/post-1"
    first = client.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    known = {"If-None-Match": first.headers["ETag"]}
    again = client.get(path, headers=known)
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["X-Served-By"] == "web-1"
    client.post(f"{path}/hits")
    changed = client.get(path, headers=known)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_a_counter_that_is_not_what_was_meant_is_a_problem(client):
    client.post(f"{COUNTERS}/blog/post-1/hits")
    path = f"{COUNTERS}/blog/post-1"
    tag = client.get(path).headers["ETag"]
    assert client.get(path, headers={"If-Match": tag}).status_code == 200
    answer = client.get(path, headers={"If-Match": '"other"'})
    assert (answer.status_code, answer.mimetype) == (412, "application/problem+json")
    assert answer.json["detail"] == "This is not what If-Match names."


def test_head_is_get_without_the_body(client):
    client.post(f"{COUNTERS}/blog/post-1/hits")
    response = client.head(f"{COUNTERS}/blog/post-1")
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["ETag"]
    assert client.head(f"{COUNTERS}/blog/nobody").status_code == 404


@pytest.mark.parametrize("tag", ["*", '"x", *', "garbage", '"', "W/"])
def test_an_odd_tag_is_no_error(client, tag):
    client.post(f"{COUNTERS}/blog/post-1/hits")
    response = client.get(f"{COUNTERS}/blog/post-1", headers={"If-None-Match": tag})
    assert response.status_code in {200, 304}


def test_a_counter_that_is_not_there_is_not_found(client):
    assert_problem(client.get(f"{COUNTERS}/default/nobody"), 404, "no counter default/nobody")
    assert_problem(client.get(f"{COUNTERS}/default/nobody/history"), 404)


@pytest.mark.parametrize(
    ("path", "part"),
    [
        (f"{COUNTERS}/blog/post-1?limt=5", 'no query parameter "limt"'),
        ("/api/v1/requests?x", 'no query parameter "x"'),
        (f"{COUNTERS}?limit=5&limit=6", "only once"),
        (f"{COUNTERS}?limit=0", "limit must be"),
        (f"{COUNTERS}?limit=501", "limit must be"),
        (f"{COUNTERS}?limit=1e2", "limit must be"),
        (f"{COUNTERS}?limit=%D9%A3", "limit must be"),
        (f"{COUNTERS}?limit=", "limit must be"),
        (f"{COUNTERS}?after=x", "after must be"),
        (f"{COUNTERS}?after=%ff%00", "after must be"),
        (f"{COUNTERS}/blog/post-1/history?resolution=year", "resolution must be one of minute"),
    ],
)
def test_a_bad_query_is_refused(client, path, part):
    client.post(f"{COUNTERS}/blog/post-1/hits")
    assert_problem(client.get(path, headers=bearer("x" * 36)), 400, part)


def test_history_is_without_gaps_and_ends_in_the_value(client, store):
    store.now = datetime.now(UTC) - timedelta(minutes=3)
    client.post(f"{COUNTERS}/blog/post-1/hits")
    store.now = datetime.now(UTC)
    client.post(f"{COUNTERS}/blog/post-1/hits")
    body = client.get(f"{COUNTERS}/blog/post-1/history").get_json()
    assert body["resolution"] == "minute"
    points = body["points"]
    assert len(points) in {4, 5}
    assert (points[0]["value"], points[0]["change"]) == (1, 1)
    assert points[-1]["value"] == 2
    times = [datetime.fromisoformat(point["time"]) for point in points]
    assert {later - earlier for earlier, later in zip(times, times[1:], strict=False)} == {
        timedelta(minutes=1)
    }
    for resolution in ("hour", "day"):
        answer = client.get(f"{COUNTERS}/blog/post-1/history?resolution={resolution}")
        assert answer.get_json()["points"][-1]["value"] == 2


def test_all_that_is_told_of_time_is_by_the_databases_clock(client, store):
    store.now = datetime(2001, 1, 1, 12, 0, 30, tzinfo=UTC)
    for _ in range(3):
        client.post(f"{COUNTERS}/blog/post-1/hits")
    client.post(f"{COUNTERS}/default/shared/hits")
    store.now += timedelta(seconds=20)
    for body in (
        client.get(f"{COUNTERS}/blog/post-1").get_json(),
        client.get("/api/v1/requests").get_json(),
    ):
        assert body["rates"]["minute"] == body.get("value", 1)
    [point] = client.get(f"{COUNTERS}/blog/post-1/history").get_json()["points"]
    assert point == {"time": "2001-01-01T12:00:00.000Z", "value": 3, "change": 3}


def test_a_counter_that_was_set_was_not_hit(client):
    key = create(client, namespace="blog", key="post-1")["admin_key"]
    client.put(f"{COUNTERS}/blog/post-1/value", json={"value": 2_000_000}, headers=bearer(key))
    client.post(f"{COUNTERS}/blog/post-1/hits")
    body = client.get(f"{COUNTERS}/blog/post-1").get_json()
    assert body["value"] == 2_000_001
    assert body["rates"] == {"minute": 1, "hour": 1, "day": 1}
    points = client.get(f"{COUNTERS}/blog/post-1/history").get_json()["points"]
    assert points[-1]["value"] == 2_000_001
    assert sum(point["change"] for point in points) == 1


def test_the_shared_counter_is_there_from_the_start(client):
    assert client.get("/api/v1/requests").get_json() == {
        "total": 0,
        "nodes": {},
        "rates": {"minute": 0.0, "hour": 0.0, "day": 0.0},
        "node": "web-1",
        "release": "1.2.3",
    }


def test_reading_the_shared_counter_counts_nothing_and_tells_nodes_and_rates(client, store):
    client.post(f"{COUNTERS}/default/shared/hits")
    store.node = "web-2"
    for _ in range(2):
        client.post(f"{COUNTERS}/default/shared/hits")
    for _ in range(2):
        body = client.get("/api/v1/requests").get_json()
        assert (body["total"], body["nodes"]) == (3, {"web-1": 1, "web-2": 2})
        assert body["rates"] == {"minute": 3, "hour": 3, "day": 3}


def test_totals(client):
    client.post(f"{COUNTERS}/one/aaa/hits")
    client.post(f"{COUNTERS}/one/bbb/hits")
    create(client, namespace="two", value=5)
    body = client.get("/api/v1/stats").get_json()
    assert (body["counters"], body["namespaces"], body["hits"]) == (3, 2, 2)


def test_a_total_that_readers_of_json_would_round_is_null(client, store, monkeypatch):
    monkeypatch.setattr(store, "totals", lambda: Totals(2, 1, LARGEST))
    assert client.get("/api/v1/stats").get_json()["hits"] == LARGEST
    monkeypatch.setattr(store, "totals", lambda: Totals(2, 1, LARGEST + 1))
    assert client.get("/api/v1/stats").get_json()["hits"] is None


# Requests that are made ahead

AHEAD = {"Sec-Purpose": "prefetch;prerender"}


def test_a_hit_that_is_made_ahead_is_answered_and_not_counted(client):
    path = f"{COUNTERS}/blog/post-1"
    answer = client.post(f"{path}/hits", headers=AHEAD)
    assert (answer.status_code, answer.get_json()["value"]) == (200, 0)
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get(path).status_code == 404
    client.post(f"{path}/hits")
    once = AHEAD | {"Idempotency-Key": "one"}
    assert client.post(f"{path}/hits", headers=once).get_json()["value"] == 1
    counted = client.post(f"{path}/hits", headers={"Idempotency-Key": "one"}).get_json()
    assert (counted["value"], counted["replayed"]) == (2, False)
    assert client.get(path, headers=AHEAD).get_json()["value"] == 2


def test_any_other_change_that_is_asked_for_ahead_is_refused(client):
    key = bearer(create(client, namespace="blog", key="post-1")["admin_key"])
    path = f"{COUNTERS}/blog/post-1"
    for answer in (
        client.post(COUNTERS, json={"key": "other"}, headers=AHEAD),
        client.post(f"{path}/updates", json={"amount": 1}, headers=AHEAD | key),
        client.put(f"{path}/value", json={"value": 1}, headers=AHEAD | key),
        client.delete(path, headers=AHEAD | key),
        client.post("/api/v1/import", json=[{"key": "other", "value": 1}], headers=AHEAD),
        client.delete(f"/api/v1/operator/counters/{'blog/post-1'}", headers=AHEAD),
    ):
        assert_problem(answer, 403, "made ahead changes nothing")
    assert client.get(path).get_json()["value"] == 0
    assert client.get(f"{COUNTERS}/default/other").status_code == 404


# Refusals


def test_no_room_says_when_to_come_back(client, store):
    store.most = 0
    for answer in (
        client.post(f"{COUNTERS}/blog/post-1/hits"),
        client.post(COUNTERS, json={}),
    ):
        assert_problem(answer, 429, "There may be 0 counters")
        assert answer.headers["Retry-After"] == "60"


def test_the_titles_are_the_same_on_every_python(client):
    for answer, title in {
        client.post(COUNTERS, json={"x": 1}): "Unprocessable Content",
        client.post(f"{COUNTERS}/blog/post-1/hits", data=b"x" * 20_000): "Content Too Large",
    }.items():
        assert answer.get_json()["title"] == title


def test_a_counter_that_is_not_there_is_told_with_what_makes_it(client):
    path = f"{COUNTERS}/blog/post-1"
    for answer in (
        client.get(path),
        client.get(f"{path}/history"),
        client.delete(path, headers=bearer("0" * 36)),
    ):
        assert_problem(answer, 404, "no counter blog/post-1. A hit makes it")


# Pages


def pages(client, path, headers):
    """Follow the links from page to page, and return the names of each."""
    found = []
    while path:
        response = client.get(path, headers=headers)
        assert response.status_code == 200
        found.append([item["key"] for item in response.get_json()["items"]])
        link = response.headers.get("Link")
        following = response.get_json()["next"]
        assert (link is None) == (following is None)
        path = link and link.split(">")[0].removeprefix("<")
        assert not link or f"after={following}&" in link
    return found


def test_one_sees_ones_own_counters_page_by_page(client):
    key = create(client, key="key-0")["admin_key"]
    for n in range(1, 5):
        client.post(COUNTERS, json={"key": f"key-{n}"}, headers=bearer(key))
    create(client, key="of-another")
    assert pages(client, f"{COUNTERS}?limit=2", bearer(key)) == [
        ["key-0", "key-1"],
        ["key-2", "key-3"],
        ["key-4"],
    ]
    assert pages(client, f"{COUNTERS}?limit=5", bearer(key)) == [[f"key-{n}" for n in range(5)]]
    beyond = client.get(f"{COUNTERS}?after=zzz/zzz", headers=bearer(key)).get_json()
    assert beyond == {"items": [], "next": None}


def test_a_key_that_owns_nothing_is_told_so(client):
    client.post(f"{COUNTERS}/default/someone-s/hits")
    refused = client.get(COUNTERS, headers=bearer("0" * 36))
    assert_problem(refused, 403, "No counter has this admin key")


def test_nobody_sees_a_list_without_a_key(client):
    assert_problem(client.get(COUNTERS), 401, "admin key")


def test_an_unchanged_page_is_not_sent_again(client):
    key = create(client, key="mine")["admin_key"]
    first = client.get(COUNTERS, headers=bearer(key))
    known = {**bearer(key), "If-None-Match": first.headers["ETag"]}
    assert client.get(COUNTERS, headers=known).status_code == 304


def test_no_answer_shows_the_key_or_its_hash(client, store):
    made = create(client, key="mine")
    key = made["admin_key"]
    hashed = store._admins[Key("default", "mine")]
    for path in (f"{COUNTERS}/default/mine", COUNTERS, "/api/v1/export"):
        text = client.get(path, headers=bearer(key)).get_data(as_text=True)
        assert key not in text
        assert hashed not in text
