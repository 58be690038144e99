"""The routes of CountAPI and Abacus: each does what its clients rely on."""

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from counterapp.compat import go_duration
from counterapp.counters import LARGEST, Key, Plan, StoreUnavailable, Totals

VERBS = ["hit", "get", "set", "update", "reset", "delete", "info"]


@pytest.fixture
def made(client):
    """A counter `site/made` of 42, and the headers with its admin key."""
    answer = client.post("/create/site/made?value=42")
    return {"Authorization": f"Bearer {answer.json['admin_key']}"}


def test_hits_count_and_make_the_counter(client):
    assert client.get("/hit/site/page").json == {"value": 1}
    assert client.post("/hit/site/page").json == {"value": 2}
    assert client.get("/get/site/page").json == {"value": 2}


def test_without_a_namespace_it_is_the_default_one(client):
    client.get("/hit/page")
    answer = client.get("/get/default/page")
    assert answer.json == {"value": 1}
    assert answer.headers["X-Path"] == "default/page"


def test_namespaces_are_apart(client):
    client.get("/hit/one/page")
    assert client.get("/get/two/page").status_code == 404


@pytest.mark.parametrize("verb", ["get", "info", "set", "update", "reset", "delete"])
def test_what_is_not_there_is_not_found(client, verb):
    answer = client.get(f"/{verb}/nobody?value=1", headers={"Authorization": "Bearer key"})
    assert answer.status_code == 404
    assert answer.json["value"] is None
    assert answer.json["error"]
    assert answer.headers["X-Path"] == "default/nobody"


def test_countapi_creates_by_query_with_a_random_key_and_narrow_bounds(client):
    answer = client.get("/create")
    assert answer.status_code == 200
    key = answer.json["key"]
    assert uuid.UUID(key)
    assert answer.json["namespace"] == "default"
    assert answer.json["value"] == 0
    assert answer.headers["X-Path"] == f"default/{key}"
    info = client.get(f"/info/{key}").json
    assert (info["update_lowerbound"], info["update_upperbound"]) == (-1, 1)
    assert info["enable_reset"] is False


def test_abacus_creates_by_path_with_everything_allowed(client):
    answer = client.post("/create/site/page?initializer=7")
    assert answer.status_code == 201
    assert answer.json.items() >= {"namespace": "site", "key": "page", "value": 7}.items()
    info = client.get("/info/site/page").json
    assert (info["update_lowerbound"], info["update_upperbound"]) == (-LARGEST, LARGEST)
    assert info["enable_reset"] is True


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_abacus_creates_a_random_counter(client, method):
    answer = client.open("/create/", method=method)
    assert answer.status_code == 201
    names = answer.json["namespace"], answer.json["key"]
    assert [len(name) for name in names] == [16, 16]
    assert client.get(f"/info/{'/'.join(names)}").json["enable_reset"] is True


def test_a_slash_behind_a_path_makes_no_difference(client):
    assert client.get("/create/?key=page").json["key"] == "page"
    assert client.post("/create/site/page/?initializer=4").json["value"] == 4
    assert client.get("/hit/site/page/").json == {"value": 5}
    assert client.get("/get/site/page/").json == client.get("/get/site/page").json
    assert client.get("/hit/page/").headers["X-Path"] == "default/page"
    assert client.get("/stats/").status_code == 200
    assert client.head("/stream/site/page/").mimetype == "text/event-stream"


def test_healthcheck_says_how_long_the_process_has_run(client, store):
    store.broken = "The database has no primary that can be reached"
    answer = client.get("/healthcheck")
    assert answer.status_code == 200
    assert answer.json["status"] == "ok"
    assert re.fullmatch(r"(\d+h)?(\d+m)?\d+s", answer.json["uptime"])
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m0s"), (3600, "1h0m0s"), (90061, "25h1m1s")],
)
def test_times_are_written_as_go_writes_them(seconds, written):
    assert go_duration(seconds) == written


def test_creation_with_everything(client, store):
    query = "namespace=site&key=page&value=-5&enable_reset=1&step=3&expiration=60"
    answer = client.get(f"/create?{query}&update_lowerbound=-2&update_upperbound=9")
    assert answer.json["value"] == -5
    plan = store.read(Key("site", "page")).plan
    assert plan == Plan(-5, 3, -2, 9, True, 60)
    assert client.get("/hit/site/page").json == {"value": -2}


def test_a_counter_is_created_once(client, made):
    answer = client.post("/create/site/made")
    assert answer.status_code == 409
    assert "already" in answer.json["error"]
    assert client.get("/get/site/made").json == {"value": 42}


def test_nobody_can_have_the_counter_of_the_service(client):
    for path in ("/create/shared", "/create/default/shared", "/create?key=shared"):
        assert client.get(path).status_code == 409
    assert client.get("/create/other/shared").status_code == 201


def test_the_admin_key_is_told_once_and_kept_hashed(client, store):
    answer = client.get("/create/page")
    key = answer.json["admin_key"]
    assert uuid.UUID(key).version == 4
    assert "admin_key" not in client.get("/info/page").json
    assert key not in str(vars(store))


def test_who_brings_a_key_keeps_it(client):
    key = str(uuid.uuid4())
    answer = client.get("/create?key=page&enable_reset=1", auth=("", key))
    assert "admin_key" not in answer.json
    assert client.get("/set/page?value=8", auth=("", key)).json == {"old_value": 0, "value": 8}


@pytest.mark.parametrize("weak", ["x", "x" * 31, f"{'x' * 20}.{'y' * 20}.{'z' * 20}"])
def test_a_weak_key_or_an_operators_token_owns_nothing(client, weak):
    answer = client.get("/create/page", headers={"Authorization": f"Bearer {weak}"})
    assert answer.status_code == 400
    assert client.get("/get/page").status_code == 404


def test_set_and_reset_tell_the_value_before(client, made):
    assert client.get("/set/site/made?value=7", headers=made).json == {"old_value": 42, "value": 7}
    assert client.post("/reset/site/made", headers=made).json == {"old_value": 7, "value": 0}


@pytest.mark.parametrize("name", ["amount", "value"])
def test_update_adds_an_amount_by_either_name(client, made, name):
    assert client.get(f"/update/site/made?{name}=-50", headers=made).json == {"value": -8}


def test_a_plus_sign_may_stand_unquoted(client, made):
    assert client.get("/update/site/made?amount=+8", headers=made).json == {"value": 50}


def test_delete_removes_the_counter(client, made):
    assert client.delete("/delete/site/made", headers=made).json["status"] == "ok"
    assert client.get("/get/site/made").status_code == 404


@pytest.mark.parametrize("request_", ["set/site/made?value=1", "reset/site/made"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_a_change_without_the_key_changes_nothing(client, made, request_, headers):
    answer = client.get(f"/{request_}", headers=headers)
    assert answer.status_code == 403
    assert answer.json["old_value"] == answer.json["value"] == 42
    assert ("Bearer" in answer.json["error"]) == (not headers)


def test_update_and_delete_need_the_key_too(client, made):
    assert client.get("/update/site/made?amount=1").status_code == 403
    assert client.get("/delete/site/made").status_code == 403
    assert client.get("/get/site/made").json == {"value": 42}


def test_the_key_may_come_in_the_query_or_as_a_password(client, made):
    key = made["Authorization"].split()[1]
    for query in (f"admin_key={key}", f"token={key}"):
        assert client.get(f"/update/site/made?amount=1&{query}").status_code == 200
    for auth in (("", key), ("anybody", key), (key, "")):
        assert client.get("/update/site/made?amount=1", auth=auth).status_code == 200
    assert client.get("/get/site/made").json == {"value": 47}


def test_a_remembered_password_is_nothing_to_pages_of_other_sites(client, made):
    key = made["Authorization"].split()[1]
    for site, status in {"cross-site": 403, "same-site": 403, "same-origin": 200}.items():
        answer = client.get("/reset/site/made", auth=("", key), headers={"Sec-Fetch-Site": site})
        assert answer.status_code == status


BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "Host": "counter.test:8000"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (BROWSER, 403),
        (BROWSER | {"Origin": "http://shop.test"}, 403),
        (BROWSER | {"Origin": "null"}, 403),
        (BROWSER | {"Referer": "http://counter.test:8000/"}, 403),
        (BROWSER | {"Origin": "http://counter.test:8000"}, 200),
        (BROWSER | {"Sec-Fetch-Site": "none"}, 200),
        ({"User-Agent": "curl/8.5.0"}, 200),
        ({"User-Agent": "python-requests/2.32 (like Mozilla/5.0)"}, 200),
        ({"User-Agent": ""}, 200),
    ],
)
def test_over_plain_http_a_browsers_password_is_taken_from_our_own_page_only(
    client, made, headers, status
):
    key = made["Authorization"].split()[1]
    answer = client.post("/reset/site/made", auth=("", key), headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert "browser's password" in answer.json["error"]
        assert "Authorization: Bearer" in answer.json["error"]
        assert client.get("/get/site/made").json == {"value": 42}
    assert client.post(f"/reset/site/made?token={key}", auth=("", "x"), headers=BROWSER).json


def test_a_browsers_password_that_is_not_taken_is_not_replaced_by_a_new_key(client):
    answer = client.get("/create/page", auth=("", "0" * 36), headers=BROWSER)
    assert answer.status_code == 403
    assert "Bearer" in answer.json["error"]
    assert client.get("/get/page").status_code == 404


def test_an_unanswered_creation_tells_what_to_try_again_with(client, store, monkeypatch):
    create = store.create

    def unanswered(key, plan, admin):
        create(key, plan, admin)
        raise StoreUnavailable("No majority of the database acknowledged in time")

    monkeypatch.setattr(store, "create", unanswered)
    told = client.post("/create/site/page?value=3")
    assert (told.status_code, told.json["namespace"], told.json["key"]) == (503, "site", "page")
    key = {"Authorization": f"Bearer {told.json['admin_key']}"}
    monkeypatch.undo()
    assert client.post("/create/site/page?value=3", headers=key).status_code == 409
    assert client.get("/set/site/page?value=4", headers=key).json == {"old_value": 3, "value": 4}

    monkeypatch.setattr(store, "create", unanswered)
    given = client.get("/create", headers=key)
    assert given.status_code == 503
    assert client.get(f"/get/{given.json['key']}").status_code == 200
    assert "admin_key" not in given.json
    script = client.get("/create?callback=show").text
    assert '"status": 503' in script
    assert '"admin_key"' in script


def test_no_room_says_when_to_come_back(client, store):
    store.most = 0
    answer = client.get("/hit/page")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert client.get("/create").status_code == 429


def test_what_was_made_as_not_resettable_cannot_be_set_even_with_the_key(client):
    key = client.get("/create?key=page&value=3").json["admin_key"]
    answer = client.get(f"/set/page?value=9&token={key}")
    assert answer.status_code == 403
    assert answer.json["old_value"] == answer.json["value"] == 3


def test_amounts_out_of_the_bounds_are_refused_with_the_value_as_it_is(client):
    key = client.get("/create?key=page&update_upperbound=5").json["admin_key"]
    assert client.get(f"/update/page?amount=5&token={key}").json == {"value": 5}
    for amount in (6, -2):
        answer = client.get(f"/update/page?amount={amount}&token={key}")
        assert answer.status_code == 403
        assert answer.json["value"] == 5


def test_a_counter_that_a_hit_made_is_everybodys_within_narrow_bounds(client):
    client.get("/hit/page")
    assert client.get("/update/page?amount=1").json == {"value": 2}
    for amount in (100, -1):
        assert client.get(f"/update/page?amount={amount}").status_code == 403
    for verb in ("set", "reset", "delete"):
        answer = client.get(f"/{verb}/page?value=1", headers={"Authorization": "Bearer mine"})
        assert answer.status_code == 403


def test_no_value_passes_the_largest_number_that_javascript_keeps(client):
    key = client.get(f"/create/page?value={LARGEST - 1}").json["admin_key"]
    assert client.get("/hit/page").json == {"value": LARGEST}
    for path in ("/hit/page", f"/update/page?amount=1&token={key}"):
        answer = client.get(path)
        assert answer.status_code == 403
        assert answer.json["value"] == LARGEST
    assert client.get(f"/create/low?value=-{LARGEST}&step=-1").json["value"] == -LARGEST
    assert client.get("/hit/low").status_code == 403


def test_info_speaks_both_dialects(client, store):
    store.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    client.get("/create/site/page?value=3&expiration=600&step=-2")
    info = client.get("/info/site/page").json
    assert info["created"] == int(store.now.timestamp() * 1000)
    assert info["full_key"] == "K:site:page"
    assert (info["is_genuine"], info["exists"], info["step"]) == (False, True, -2)
    assert (info["expires_in"], info["expires_str"]) == (600, "10m0s")
    client.get("/create/for-ever")
    info = client.get("/info/for-ever").json
    assert (info["ttl"], info["expires_in"], info["expires_str"]) == (None, -1, "-1ns")
    client.get("/hit/by-a-hit")
    info = client.get("/info/by-a-hit").json
    assert (info["expires_str"], info["is_genuine"]) == ("4320h0m0s", True)


def test_info_tells_how_long_a_counter_has_to_live(client):
    client.get("/create/page?expiration=600")
    info = client.get("/info/page").json
    assert 595_000 < info["ttl"] <= 600_000
    assert 595 <= info["expires_in"] <= 600


def test_a_counter_expires(client, store):
    client.get("/create/page?expiration=600")
    store.now = datetime.now(UTC) + timedelta(seconds=601)
    assert client.get("/get/page").status_code == 404
    assert client.get("/create/page").status_code == 201


def test_stats(client):
    client.get("/hit/shared")
    client.get("/hit/site/page")
    stats = client.get("/stats").json
    assert stats["keys_created"] == stats["total_keys"] == stats["namespaces"] == 2
    assert stats["requests"] == 1
    assert stats["commands"]["hit"] == 2
    assert (stats["version"], stats["shard"]) == ("1.2.3", "web-1")


def test_a_total_that_javascript_would_round_is_null(client, store, monkeypatch):
    monkeypatch.setattr(store, "totals", lambda: Totals(2, 1, LARGEST + 1))
    stats = client.get("/stats").json
    assert stats["keys_updated"] is stats["commands"]["hit"] is None
    assert stats["keys_created"] == 2


def test_how_long_a_counter_has_to_live_is_by_the_databases_clock(client, store):
    store.now = datetime(2001, 1, 1, tzinfo=UTC)
    client.get("/create/page?expiration=600")
    store.now += timedelta(seconds=100)
    info = client.get("/info/page").json
    assert (info["ttl"], info["expires_in"]) == (500_000, 500)


def test_an_idempotency_key_counts_once(client, made):
    once = {"Idempotency-Key": "one"}
    answers = [client.get("/hit/page", headers=once) for _ in range(3)]
    assert [answer.json["value"] for answer in answers] == [1, 1, 1]
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [
        *(None, "true", "true")
    ]
    for _ in range(2):
        answer = client.get("/update/site/made?amount=5", headers=made | once)
        assert answer.json["value"] == 47
    reused = client.get("/update/site/made?amount=6", headers=made | once)
    assert reused.status_code == 422
    assert client.get("/get/site/made").json == {"value": 47}


@pytest.mark.parametrize("verb", [*VERBS, "stats", "create"])
def test_a_lost_database_is_a_503_that_says_when_to_come_back(client, store, verb):
    store.broken = "The database has no primary that can be reached"
    path = f"/{verb}" if verb in ("stats", "create") else f"/{verb}/page?value=1"
    answer = client.get(path)
    assert answer.status_code == 503
    assert "no primary" in answer.json["error"]
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_refusal_stands_when_the_value_cannot_be_looked_up(client, made, store, monkeypatch):
    def read(_key):
        raise StoreUnavailable("The database did not answer in time")

    monkeypatch.setattr(store, "read", read)
    answer = client.get("/set/site/made?value=1")
    assert answer.status_code == 403
    assert "value" not in answer.json


def test_too_many_hits_are_told_to_come_back(client, store):
    store.overloaded = "Too many hits wait already"
    answer = client.get("/hit/page")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
