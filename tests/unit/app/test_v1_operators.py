"""Operators' endpoints: only with a token that is signed, in time, and made for it."""

import base64
import dataclasses
import json
import time

import jwt
import pytest

from tests.support.described import DescribedClient
from tests.unit.app.test_app import assert_problem
from tests.unit.app.test_v1 import bearer, create

KEY = "an operator key of 256 bits and more"
MINE = "/api/v1/operator/counters/default/mine"


@pytest.fixture
def settings(settings):
    return dataclasses.replace(settings, operator_key=KEY)


@pytest.fixture
def client(app):
    app.test_client_class = DescribedClient
    return app.test_client()


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


class TestWithoutAKey:
    @pytest.fixture
    def settings(self, settings):
        return dataclasses.replace(settings, operator_key=None)

    def test_no_token_is_taken(self, client):
        assert_problem(client.delete(MINE, headers=token()), 401, "without their key")
        unsigned = ".".join([segment(b'{"alg": "HS256"}'), segment(b"{}"), ""])
        assert_problem(client.get("/api/v1/counters", headers=bearer(unsigned)), 401, "without")
