"""What holds of every request: who answered, its ID, and that nothing is a 500."""

import json

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples

HIT = "/api/v1/counters/default/shared/hits"


@pytest.fixture
def client(app):
    """One that the document means nothing to: no operation ends as here some do."""
    app.test_client_class = FlaskClient
    return app.test_client()


def assert_problem(response, status, part=""):
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    body = response.get_json()
    assert body["status"] == status
    assert body["title"]
    assert part in body["detail"]
    assert response.headers["X-Served-By"] == "web-1"
    assert response.headers["X-Release"] == "1.2.3"
    assert response.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/api", "/api/hits", "/api/v1", "/api/v1/", "/x"])
def test_an_unknown_path_is_not_found(client, path):
    assert_problem(client.get(path), 404, "/api/v1/openapi.json")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/v1/requests"),
        ("PUT", "/api/v1/counters/default/abc"),
        ("POST", "/readyz"),
        ("POST", "/"),
    ],
)
def test_a_wrong_method_is_refused_and_the_right_ones_named(client, method, path):
    response = client.open(path, method=method)
    assert_problem(response, 405, f"{method} is not for this path: it has ")
    assert "GET" in response.headers["Allow"]
    assert response.headers["Allow"] in response.get_json()["detail"]


def test_an_unusable_store_is_a_503_that_says_when_to_come_back(client, store):
    store.broken = "The database has no primary that can be reached"
    for response in (client.post(HIT), client.get("/api/v1/requests")):
        assert_problem(response, 503, "no primary")
        assert int(response.headers["Retry-After"]) >= 1


def test_overload_is_a_503_that_says_when_to_come_back(client, store):
    store.overloaded = "1000 hits wait already"
    response = client.post(HIT)
    assert_problem(response, 503, "1000 hits wait")
    assert int(response.headers["Retry-After"]) >= 1


def test_a_bug_is_a_500_that_tells_nothing(client, store, caplog):
    store.bug = ZeroDivisionError("mongodb://user:pw@db-1")
    response = client.post(HIT)
    assert_problem(response, 500)
    assert b"pw" not in response.data
    assert "unexpected error" in caplog.text


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/requests", "/livez", "/readyz", "/metrics", "/nowhere"]
)
def test_every_response_says_who_and_which(client, path):
    headers = client.get(path).headers
    assert headers["X-Served-By"] == "web-1"
    assert headers["X-Release"] == "1.2.3"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert len(headers["X-Request-ID"]) == 32


def test_a_request_id_is_echoed(client):
    asked = {"X-Request-ID": "abc-123_x.y:z"}
    assert client.get("/livez", headers=asked).headers["X-Request-ID"] == "abc-123_x.y:z"


@pytest.mark.parametrize("asked", ["x" * 129, "with space", 'quote"', "<b>", ""])
def test_an_unfit_request_id_is_replaced(client, asked):
    given_back = client.get("/livez", headers={"X-Request-ID": asked}).headers["X-Request-ID"]
    assert given_back != asked
    assert len(given_back) == 32


def test_counts_are_not_cached(client):
    assert client.get("/api/v1/requests").headers["Cache-Control"] == "no-store"


def test_alive_even_without_a_database(client, store):
    store.broken = "gone"
    response = client.get("/livez")
    assert response.status_code == 200
    assert response.get_json() == {"live": True, "node": "web-1", "release": "1.2.3"}


def test_ready(client):
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.get_json() == {"ready": True, "node": "web-1", "release": "1.2.3"}


def test_not_ready_says_why(client, store):
    store.broken = "No majority of the database acknowledged in time"
    response = client.get("/readyz")
    assert_problem(response, 503, "No majority")
    body = response.get_json()
    assert body["ready"] is False
    assert body["reason"] == store.broken


def wire_path(text):
    """A path as a WSGI server hands it over: its bytes, each as one Latin-1 character."""
    return ("/" + text).encode("utf-8", "surrogateescape").decode("latin-1")


prefixes = st.sampled_from(
    [
        *("", "/", "api", "assets/", "readyz", "metrics", "hit/", "create/", "badge/"),
        *("api/v1/", "api/v1/counters/", "api/v1/counters/default/", "api/v1/operator/counters/"),
    ]
)
paths = st.builds(lambda prefix, rest: prefix + rest, prefixes, st.text(max_size=80))


@examples(200)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"]),
    path=paths.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text)),
    query=st.text(st.characters(codec="latin-1"), max_size=40),
    header=st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=140),
    body=st.binary(max_size=50),
)
def test_no_input_gives_a_500(client, method, path, query, header, body):
    response = client.open(
        "/",
        method=method,
        data=body,
        environ_overrides={
            "PATH_INFO": wire_path(path),
            "QUERY_STRING": query,
            "HTTP_X_REQUEST_ID": header,
            "HTTP_AUTHORIZATION": header,
            "HTTP_IDEMPOTENCY_KEY": header,
        },
    )
    assert response.status_code < 500
    assert response.headers["X-Served-By"] == "web-1"
    if response.mimetype == "application/problem+json" and method != "HEAD":
        assert json.loads(response.data)["status"] == response.status_code


def test_an_absolute_request_line_without_a_path_is_the_page(client):
    response = client.get("/", environ_overrides={"PATH_INFO": "", "QUERY_STRING": "\r"})
    assert response.status_code == 200
    assert response.mimetype == "text/html"
