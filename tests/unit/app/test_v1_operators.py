"""Operators' endpoints: only with a token that is signed, in time, and made for it."""

import base64
import dataclasses
import json
import time

import jwt
import pytest
from counterapp import operators
from counterapp.counters import StoreUnavailable

from tests.unit.app.test_app import assert_problem
from tests.unit.app.test_v1 import bearer, create

KEY = "an operator key of 256 bits and more"
MINE = "/api/v1/operator/counters/default/mine"


@pytest.fixture
def settings(settings):
    return dataclasses.replace(settings, operator_key=KEY)


def token(key=KEY, algorithm="HS256", without=(), **claims):
    whole = {
        "sub": "root@master",
        "aud": "counterapp",
        "scope": "counters:read counters:write",
        "exp": int(time.time()) + 60,
        **claims,
    }
    kept = {name: value for name, value in whole.items() if name not in without}
    return bearer(jwt.encode(kept, key, algorithm=algorithm))


def test_an_operator_sets_and_deletes_what_others_own(client, caplog):
    create(client, key="mine", value=5, resettable=False)
    put = client.put(f"{MINE}/value", json={"value": -1}, headers=token())
    assert (put.get_json()["previous"], put.get_json()["value"]) == (5, -1)
    assert "operator root@master set default/mine from 5 to -1" in caplog.text
    assert client.delete(MINE, headers=token()).status_code == 204
    assert "operator root@master deleted default/mine" in caplog.text
    assert client.get("/api/v1/counters/default/mine").status_code == 404


@pytest.mark.parametrize(("form", "text"), [("csv", "namespace,key,value\r\n"), ("json", "[]\n")])
def test_an_operator_exports_nothing_where_nothing_is(client, form, text):
    answer = client.get(f"/api/v1/export?format={form}", headers=token())
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, text)


def test_an_operator_sees_and_exports_all(client):
    create(client, key="one-s")
    create(client, key="another-s", value=3)
    client.post("/api/v1/counters/default/nobody-s/hits")
    body = client.get("/api/v1/counters", headers=token(scope="counters:read")).get_json()
    assert [each["key"] for each in body["items"]] == ["another-s", "nobody-s", "one-s"]
    text = client.get("/api/v1/export", headers=token(scope="counters:read")).data
    assert text.count(b"\r\n") == 4


@pytest.mark.parametrize(
    "headers",
    [
        None,
        bearer("a.b.c"),
        bearer(".."),
        bearer("5f0e6f0c-3b8a-4a7e-9d7c-2f6a3c1b9e10"),
        token(key="another key that is as long as the other"),
        token(key=KEY + KEY, algorithm="HS512"),
        token(exp=int(time.time()) - 60),
        token(exp=-(10**30)),
        token(nbf=int(time.time()) + 600),
        token(aud="another"),
        token(aud=[]),
        token(without=("exp",)),
        token(without=("aud",)),
        token(without=("sub",)),
        token(sub=5),
        token(exp="soon"),
        token(exp=[]),
        token(exp=float("inf")),
        token(iat="soon"),
        token(iat=None),
        token(iat=float("nan")),
        bearer(jwt.encode({"sub": "x", "aud": "counterapp", "exp": 9e9}, None, algorithm="none")),
    ],
)
def test_a_token_that_is_none_is_refused(client, headers):
    create(client, key="mine")
    for response in (
        client.put(f"{MINE}/value", json={"value": 1}, headers=headers),
        client.delete(MINE, headers=headers),
    ):
        assert_problem(response, 401)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert client.get("/api/v1/counters/default/mine").get_json()["value"] == 0


def segment(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 2000,
        b"\xff\xfe",
        b"{}",
        b"null",
        b'{"alg": 5}',
        b'{"alg": "HS256", "crit": ["x"]}',
        b'{"alg": "HS256", "b64": false, "crit": ["b64"]}',
        b'{"alg": "HS256", "kid": 5}',
        b'{"alg": "RS256"}',
    ],
)
def test_a_header_made_to_harm_is_refused(client, header):
    whole = f"{segment(header)}.{segment(json.dumps({}).encode())}.{segment(b'x' * 32)}"
    assert_problem(client.delete(MINE, headers=bearer(whole)), 401, "not valid")
    assert_problem(client.get("/api/v1/counters", headers=bearer(whole)), 401, "not valid")


@pytest.mark.parametrize(
    "scope", ["", "counters:read", "counters:writer", "counters", ["counters:write"], None, 5]
)
def test_a_token_for_something_else_is_not_enough(client, scope):
    create(client, key="mine")
    assert_problem(client.delete(MINE, headers=token(scope=scope)), 403, "counters:write")


def test_who_may_write_may_not_read_by_that(client):
    only = token(scope="counters:write")
    assert_problem(client.get("/api/v1/counters", headers=only), 403, "counters:read")
    assert_problem(client.get("/api/v1/export", headers=only), 403, "counters:read")


def test_an_operators_token_owns_nothing(client):
    assert_problem(client.post("/api/v1/counters", json={}, headers=token()), 403, "own no")
    assert_problem(client.post("/api/v1/import", json=[], headers=token()), 403, "own no")


def test_what_is_not_there_is_not_found(client):
    assert_problem(client.put(f"{MINE}/value", json={"value": 1}, headers=token()), 404)
    assert_problem(client.delete(MINE, headers=token()), 404)


def test_a_bad_value_or_name_is_refused(client):
    create(client, key="mine")
    put = client.put(f"{MINE}/value", json={"value": 2**53}, headers=token())
    assert_problem(put, 422, '"value" must be')
    assert_problem(client.delete(f"{MINE}%20", headers=token()), 400, "3 to 64")


def test_clocks_may_differ_a_little(client):
    create(client, key="mine")
    late = token(exp=int(time.time()) - 3)
    assert client.delete(MINE, headers=late).status_code == 204


DAY = 24 * 3600


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) + DAY + 3600},
        {"exp": int(time.time()) + 365 * DAY, "iat": int(time.time())},
        {"exp": int(time.time()) + 600, "iat": int(time.time()) - DAY},
        {"exp": 10**300},
        {"exp": 9e15, "iat": 9e15},
    ],
)
def test_a_token_that_is_good_for_more_than_a_day_is_not_good(client, claims):
    create(client, key="mine")
    assert_problem(client.delete(MINE, headers=token(**claims)), 401)
    assert client.get("/api/v1/counters/default/mine").status_code == 200


def test_the_refusal_of_a_long_token_tells_what_to_do(client):
    long = token(exp=int(time.time()) + 2 * DAY)
    assert_problem(client.delete(MINE, headers=long), 401, "more than a day")
    assert_problem(client.delete(MINE, headers=long), 401, "salt-run operator.token")


@pytest.mark.parametrize("made", [None, int, float])
def test_a_token_that_is_good_for_a_day_is_good(client, made):
    create(client, key="mine")
    now = time.time()
    whole = token(exp=int(now) + DAY, **({"iat": made(now)} if made else {}))
    assert client.delete(MINE, headers=whole).status_code == 204


# Deletion by prefix

ALL = "/api/v1/operator/counters"


@pytest.fixture
def spam(client):
    """Counters that are to go, and some that only look like them."""
    for name in ("spam/one", "spam/two", "spam/three", "spam-not/one", "spa/spam", "ham/spam"):
        client.post(f"/api/v1/counters/{name}/hits")


def test_an_operator_deletes_by_prefix_once_it_is_confirmed(client, store, spam, caplog):
    asked = client.delete(f"{ALL}?prefix=spam/", headers=token())
    assert_problem(asked, 422, "3 of them. Send confirm=spam/ as well")
    assert asked.get_json()["counters"] == 3
    wrong = client.delete(f"{ALL}?prefix=spam/&confirm=spam", headers=token())
    assert_problem(wrong, 422, "confirm=spam/")
    assert store.totals().counters == 6
    done = client.delete(f"{ALL}?prefix=spam/&confirm=spam/", headers=token())
    assert (done.status_code, done.get_json()) == (200, {"deleted": 3, "left": 0})
    assert store.totals().counters == 3
    assert "operator root@master deleted 3 counters that begin with spam/" in caplog.text


def test_a_prefix_may_end_within_either_name(client, store, spam):
    for prefix, number in {"spam/t": 2, "spam": 2, "ham/spam": 1}.items():
        done = client.delete(f"{ALL}?prefix={prefix}&confirm={prefix}", headers=token())
        assert done.get_json() == {"deleted": number, "left": 0}
    assert store.totals().counters == 1


def test_the_services_own_counter_stays(client):
    client.post("/api/v1/counters/default/shared/hits")
    done = client.delete(f"{ALL}?prefix=default/&confirm=default/", headers=token())
    assert done.get_json() == {"deleted": 0, "left": 0}
    assert client.get("/api/v1/requests").get_json()["total"] == 1


@pytest.mark.parametrize(
    "query",
    [
        *("", "?prefix=", "?prefix=sp", "?prefix=sp/", "?prefix=/", "?prefix=/spam"),
        *("?prefix=spam//", "?prefix=spam/a/b", "?prefix=spam*", "?prefix=sp%00am", "?prefix=.*$"),
        *("?prefix=spam&prefix=ham", "?prefix=spam&all=1", f"?prefix={'x' * 65}"),
    ],
)
def test_a_prefix_that_is_none_is_refused(client, store, spam, query):
    answer = client.delete(f"{ALL}{query}{'&' if query else '?'}confirm=x", headers=token())
    assert_problem(answer, 400, "prefix")
    assert store.totals().counters == 6


def test_who_may_only_read_deletes_nothing_by_prefix(client, store, spam):
    query = "?prefix=spam/&confirm=spam/"
    assert_problem(client.delete(ALL + query), 401)
    only = token(scope="counters:read")
    assert_problem(client.delete(ALL + query, headers=only), 403, "counters:write")
    assert store.totals().counters == 6


def test_what_takes_too_long_is_left_for_another_request(client, store, spam, monkeypatch):
    delete, clock = store.operator_delete_all, [0.0]

    def slow(prefix, limit):
        clock[0] += operators.TIME * 0.6
        return delete(prefix, 1)

    monkeypatch.setattr(operators, "monotonic", lambda: clock[0])
    monkeypatch.setattr(store, "operator_delete_all", slow)
    done = client.delete(f"{ALL}?prefix=spam/&confirm=spam/", headers=token())
    assert done.get_json() == {"deleted": 2, "left": 1}


def test_a_deletion_that_is_cut_off_tells_how_far_it_came(client, store, spam, monkeypatch, caplog):
    delete, steps = store.operator_delete_all, []

    def failing(prefix, limit):
        steps.append(limit)
        if len(steps) == 2:
            raise StoreUnavailable("The database has no primary that can be reached")
        return delete(prefix, 2)

    monkeypatch.setattr(store, "operator_delete_all", failing)
    cut = client.delete(f"{ALL}?prefix=spam/&confirm=spam/", headers=token())
    assert_problem(cut, 503, "no primary")
    assert cut.get_json()["deleted"] == 2
    assert "deleted 2 counters" in caplog.text


class TestWhileTheKeyIsRotated:
    OTHER = "another operator key of 256 bits"

    @pytest.fixture
    def settings(self, settings):
        return dataclasses.replace(settings, operator_key_also=self.OTHER)

    @pytest.mark.parametrize("key", [KEY, OTHER])
    def test_tokens_of_both_are_taken(self, client, key):
        create(client, key="mine")
        assert client.delete(MINE, headers=token(key)).status_code == 204

    def test_others_are_not(self, client):
        assert_problem(client.delete(MINE, headers=token("x" * 32)), 401, "not valid here")

    @pytest.mark.parametrize("key", [KEY, OTHER])
    def test_what_is_wrong_with_one_is_told(self, client, key):
        old = token(key, exp=int(time.time()) - 60)
        assert_problem(client.delete(MINE, headers=old), 401, "has expired")


class TestWithoutAKey:
    @pytest.fixture
    def settings(self, settings):
        return dataclasses.replace(settings, operator_key=None)

    def test_no_token_is_taken(self, client):
        assert_problem(client.delete(MINE, headers=token()), 401, "without their key")
        unsigned = ".".join([segment(b'{"alg": "HS256"}'), segment(b"{}"), ""])
        assert_problem(client.get("/api/v1/counters", headers=bearer(unsigned)), 401, "without")
