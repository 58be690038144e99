"""Below ``/countapi``: what CountAPI's documentation promised, and nothing more.

Each ``documented`` is a line of it: a request, its status, and the whole of the body.
"""

import json
import uuid

import pytest
from counterapp.counters import LARGEST, Key, Plan, StoreUnavailable
from counterapp.places import plain_name
from hypothesis import given
from hypothesis import strategies as st

PAGE = {"Referer": "https://mysite.com/example/page?x=1"}
OWNER = {"Authorization": f"Bearer {'k' * 32}"}
NOTHING = dict.fromkeys(
    (
        *("namespace", "key", "ttl", "value", "enable_reset"),
        *("update_upperbound", "update_lowerbound", "created"),
    )
)


@pytest.fixture
def ask(client):
    """Return a function that asks below the base, and gives the answer."""
    return lambda path, **more: client.get(f"/countapi{path}", **more)


@pytest.fixture
def there(ask):
    """Counters as the documentation's examples have them."""
    ask("/create?key=test&value=42&enable_reset=1&update_upperbound=5&update_lowerbound=-7")
    ask("/create?namespace=mysite.com&key=test&value=24&enable_reset=1&update_lowerbound=-7")
    ask("/create?key=resetdisabled&value=1234")
    ask("/create?key=outofrange&value=47&update_upperbound=2")


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/get/test", 200, {"value": 42}),
        ("/get/mysite.com/test", 200, {"value": 24}),
        ("/get/nonexisting", 404, {"value": None}),
        ("/set/test?value=69", 200, {"old_value": 42, "value": 69}),
        ("/set/mysite.com/test?value=96", 200, {"old_value": 24, "value": 96}),
        ("/set/resetdisabled?value=33", 403, {"old_value": 1234, "value": 1234}),
        ("/set/nonexisting?value=33", 404, {"old_value": None, "value": None}),
        ("/update/test?amount=5", 200, {"value": 47}),
        ("/update/mysite.com/test?amount=-7", 200, {"value": 17}),
        ("/update/outofrange?amount=3", 403, {"value": 47}),
        ("/update/nonexisting?amount=1", 404, {"value": None}),
        ("/hit/test", 200, {"value": 43}),
        ("/hit/nonexisting", 200, {"value": 1}),
        ("/create?key=test", 409, {"namespace": None, "key": None, "value": None}),
        (
            "/create?key=counter&expiration=60",
            200,
            dict(namespace="default", key="counter", value=0),
        ),
        ("/info/nonexisting", 404, NOTHING),
    ],
)
def test_documented(ask, there, path, status, body):
    answer = ask(path)
    assert (answer.status_code, answer.json) == (status, body)


def test_documented_creation_with_a_new_uuid(ask):
    made = ask("/create?namespace=mysite.com&value=42").json
    assert uuid.UUID(made.pop("key"))
    assert made == {"namespace": "mysite.com", "value": 42}


def test_documented_info(ask, there):
    info = ask("/info/outofrange").json
    assert 0 < info.pop("created") < info.pop("ttl") + 2e12
    assert info == {
        **{"namespace": "default", "key": "outofrange", "value": 47, "enable_reset": False},
        **{"update_upperbound": 2, "update_lowerbound": -1},
    }


def test_documented_bounds_of_what_a_hit_has_made(ask):
    ask("/hit/visits")
    info = ask("/info/visits").json
    assert info.keys() == NOTHING.keys()
    assert (info["update_lowerbound"], info["update_upperbound"]) == (0, 1)
    assert info["enable_reset"] is False
    assert ask("/update/visits?amount=-1").status_code == 403


def test_documented_stats(ask):
    ask("/hit/visits")
    assert ask("/stats").json == {
        **{"keys_created": 1, "keys_updated": 1, "requests": 0, "version": "1.2.3"}
    }


def test_documented_expiration_six_months_after_the_last_change(ask, store):
    half_a_year = 180 * 24 * 3600 * 1000
    ask("/create?key=page")
    assert half_a_year - 5000 < ask("/info/page").json["ttl"] <= half_a_year
    ask("/create?key=brief&expiration=60")
    assert 55_000 < ask("/info/brief").json["ttl"] <= 60_000
    store.create(Key("default", "owned"), Plan(), "somebody")
    assert ask("/info/owned").json["ttl"] is None


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/create?key=ab", "Malformed Namespace/Key"),
        ("/create?update_upperbound=-1", "update_upperbound must be positive"),
        ("/create?update_lowerbound=1", "update_lowerbound must be negative"),
        ("/set/test", "value is missing"),
        ("/update/test", "amount is missing"),
        ("/update/test?value=1", "amount is missing"),
    ],
)
def test_what_is_malformed_has_an_error_and_nothing_else(ask, path, word):
    answer = ask(path)
    assert (answer.status_code, list(answer.json)) == (400, ["error"])
    assert word in answer.json["error"]


def test_what_nobody_owns_anybody_may_set_as_it_was_there(ask, client, there):
    assert ask("/set/test?value=1").json["value"] == 1
    assert client.get("/set/test?value=2").json["value"] == 2
    assert client.get("/delete/test", headers=OWNER).status_code == 403


def test_who_brings_a_key_owns_what_is_created(ask):
    made = ask("/create?key=mine&enable_reset=1", headers=OWNER)
    assert made.json == {"namespace": "default", "key": "mine", "value": 0}
    assert ask("/set/mine?value=5").json == {"old_value": 0, "value": 0}
    assert ask("/update/mine?amount=1").status_code == 403
    assert ask("/set/mine?value=5", headers=OWNER).json == {"old_value": 0, "value": 5}


@pytest.mark.parametrize("key", ["short", f"{'x' * 20}.{'y' * 20}.z"])
def test_a_weak_key_owns_nothing(ask, key):
    answer = ask("/create?key=mine", headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, list(answer.json)) == (400, ["error"])
    assert ask("/get/mine").status_code == 404


def test_a_password_that_a_browser_remembers_makes_nothing_that_is_nobodys(ask):
    browser = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
    answer = ask("/create?key=mine", auth=("", "k" * 32), headers=browser)
    assert (answer.status_code, list(answer.json)) == (403, ["error"])
    assert ask("/get/mine").status_code == 404


def test_nobody_can_create_the_counter_of_the_service(ask):
    assert ask("/create?key=shared").status_code == 409


@pytest.mark.parametrize("verb", ["hit/page", "get/page", "set/page?value=1", "create", "stats"])
def test_a_lost_database_is_an_error_that_says_when_to_come_back(ask, store, verb):
    store.broken = "The database has no primary that can be reached"
    answer = ask(f"/{verb}")
    assert (answer.status_code, list(answer.json)) == (503, ["error"])
    assert answer.headers["Retry-After"]


def test_a_refusal_stands_when_the_value_cannot_be_looked_up(ask, there, store, monkeypatch):
    def read(_key):
        raise StoreUnavailable("The database did not answer in time")

    monkeypatch.setattr(store, "read", read)
    answer = ask("/update/outofrange?amount=3")
    assert (answer.status_code, list(answer.json)) == (403, ["error"])


def test_no_value_passes_the_largest_number_that_javascript_keeps(ask):
    ask(f"/create?key=page&value={LARGEST}")
    assert ask("/hit/page").status_code == 403
    assert ask("/hit/page").json == {"value": LARGEST}


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        (PAGE, "mysite.com/examplepage"),
        (PAGE | {"Origin": "https://shop.example:8443"}, "shop.example/examplepage"),
        ({"Referer": "https://mysite.com/"}, "mysite.com/..."),
        ({"Referer": "https://mysite.com/a/"}, "mysite.com/..a"),
        ({"Referer": "http://x/index.html"}, "..x/index.html"),
        ({"Referer": "https://mysite.com/a%20b/_-."}, "mysite.com/a20b_-."),
        ({"Referer": f"https://mysite.com/{'a' * 99}"}, f"mysite.com/{'a' * 64}"),
        ({}, ".../..."),
    ],
)
def test_pages_have_the_names_that_countapi_gave_them(ask, headers, path):
    answer = ask("/hit/:HOST:/:PATHNAME:", headers=headers)
    assert answer.headers["X-Path"] == path
    assert ask(f"/get/{path}").json == {"value": 1}


def test_a_count_that_was_imported_is_found_by_its_page(ask, client):
    counts = "namespace,key,value\r\nmysite.com,examplepage,1234\r\n"
    assert client.post("/api/v1/import", data=counts, content_type="text/csv").json["taken"] == 1
    assert ask("/hit/:HOST:/:PATHNAME:", headers=PAGE).json == {"value": 1235}
    assert client.get("/hit/mysite.com/:PATH:", headers=PAGE).json == {"value": 1236}


@given(st.text(max_size=100))
def test_each_page_has_a_good_name(path):
    assert Key.make("site", plain_name(path))


def test_the_forms_and_the_head_are_as_at_the_root(ask, client):
    script = ask("/get/nonexisting?callback=show")
    assert (script.status_code, script.mimetype) == (200, "application/javascript")
    told = json.loads(script.text.removeprefix("/**/show(").removesuffix(");"))
    assert told == {"status": 404, "value": None}
    assert ask("/hit/page?img").mimetype == "image/gif"
    assert ask("/hit/page/").json == {"value": 2}
    assert client.post("/countapi/hit/page", data=b'{"value": 9}').json == {"value": 3}
    assert client.head("/countapi/hit/page").status_code == 405
    once = {"Idempotency-Key": "one"}
    assert [ask("/hit/page", headers=once).json["value"] for _ in range(2)] == [4, 4]
    ahead = {"Sec-Purpose": "prefetch"}
    assert ask("/hit/page", headers=ahead).json == {"value": 4}
    assert ask("/create?key=ahead", headers=ahead).status_code == 403
    assert ask("/get/page").headers["Access-Control-Allow-Origin"] == "*"
