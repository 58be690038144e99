"""Whatever is sent to ``/api/v1``, the answer is one that its document describes."""

import json

import pytest
from counterapp.counters import LARGEST
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.unit.app.test_v1 import COUNTERS, bearer, create

OPERATIONS = [
    ("POST", COUNTERS),
    ("POST", f"{COUNTERS}/default/mine/hits"),
    ("POST", f"{COUNTERS}/default/mine/updates"),
    ("PUT", f"{COUNTERS}/default/mine/value"),
    ("POST", "/api/v1/import"),
    ("PUT", "/api/v1/operator/counters/default/mine/value"),
]

fields = st.sampled_from(
    ["namespace", "key", "value", "step", "lower", "upper", "resettable", "lifetime", "amount"]
)
edges = st.sampled_from([0, 1, -1, LARGEST, -LARGEST, LARGEST + 1, -(2**63), 2**64, 10**30])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    edges,
    st.floats(allow_nan=False),
    st.text(max_size=70),
    st.sampled_from(["mine", "default", "a\ud800c", "__proto__", "$where", "a.b", "null"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields, inner, max_size=5),
    max_leaves=10,
)
bodies = st.one_of(
    st.binary(max_size=60),
    values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(fields, scalars, max_size=5).map(lambda value: json.dumps(value).encode()),
    st.lists(st.lists(scalars.map(str), max_size=4), max_size=5).map(
        lambda rows: "\n".join(["key,value", *map(",".join, rows)]).encode("utf-8", "replace")
    ),
)
media = st.sampled_from(["application/json", "text/csv", "application/json; charset=x", ""])


@pytest.fixture
def owned(app):
    client = app.test_client()
    return client, create(client, key="mine")["admin_key"]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@examples(100)
@given(body=bodies, kind=media)
def test_any_body_gets_an_answer_that_is_described(owned, method, path, body, kind):
    client, key = owned
    response = client.open(path, method=method, data=body, content_type=kind, headers=bearer(key))
    assert response.status_code < 500


@examples(200)
@given(
    path=st.sampled_from(
        [
            *("counters", "counters/default/mine", "counters/default/mine/history"),
            *("requests", "stats", "export", "openapi.json"),
        ]
    ),
    query=st.dictionaries(
        st.sampled_from(["after", "limit", "resolution", "format", "replace", "x"]),
        st.text(max_size=20) | edges.map(str) | st.sampled_from(["csv", "day", "default/mine"]),
        max_size=3,
    ),
    headers=st.dictionaries(
        st.sampled_from(["Authorization", "If-None-Match", "Accept", "Range", "X-Request-ID"]),
        st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=40)
        | st.sampled_from(["Bearer a.b.c", "*", '"x"', "bytes=0-", "bytes=9-1,-5"]),
        max_size=3,
    ),
)
def test_any_question_gets_an_answer_that_is_described(owned, path, query, headers):
    client, key = owned
    response = client.get(f"/api/v1/{path}", query_string=query, headers={**bearer(key), **headers})
    assert response.status_code < 500
