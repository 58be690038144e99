"""The OpenAPI document is whole and true; the tests of ``/api/v1`` hold it against answers."""

import re

import jsonschema_rs
import pytest
import schemathesis

from tests.support import described
from tests.support.described import resolved


@pytest.fixture
def document(client):
    return client.get("/api/v1/openapi.json").get_json()


def test_what_is_served_is_what_answers_are_held_against(document):
    assert document == described.document()


def test_it_describes_every_route_and_no_other(app, document):
    """All but the files of the page. A slash at the end of a path makes no other route."""
    routes = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule).rstrip("/"), method.lower())
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("frontend.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    told = {
        (path, method) for path, item in document["paths"].items() for method in operations(item)
    }
    assert told == routes
    assert document["servers"] == [{"url": "/"}]


def operations(item):
    return {method: each for method, each in item.items() if method != "parameters"}


def test_each_operation_has_a_name_of_its_own_and_every_status_a_meaning(document):
    names = []
    for path, item in document["paths"].items():
        for operation in operations(item).values():
            names.append(operation["operationId"])
            assert operation["summary"].endswith("."), path
            assert {"400", "413", "429", "503"} <= operation["responses"].keys(), path
            for each in operation["responses"].values():
                assert resolved(document, each)["description"], path
            if operation.get("security"):
                assert "403" in operation["responses"], path
    assert len(set(names)) == len(names)


def test_each_operation_is_under_one_tag_and_each_tag_says_what_it_is_for(document):
    used = [
        operation["tags"]
        for item in document["paths"].values()
        for operation in operations(item).values()
    ]
    assert all(len(tags) == 1 for tags in used)
    told = {tag["name"]: tag["description"] for tag in document["tags"]}
    assert {tag for [tag] in used} == told.keys()
    assert all(text.endswith(".") for text in told.values())


def references(part):
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_all_that_it_refers_to_is_there_and_all_that_is_there_is_referred_to(document):
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses")
        for name in document["components"][kind]
    }
    assert set(references(document)) == there


def test_every_schema_is_one(document):
    for name, schema in document["components"]["schemas"].items():
        whole = {**schema, "components": document["components"]}
        assert jsonschema_rs.meta.is_valid(whole), name
        jsonschema_rs.validator_for(whole)


def test_a_reader_of_such_documents_takes_it(document):
    found = schemathesis.openapi.from_dict(document).get_all_operations()
    assert sum(operation.ok() is not None for operation in found) == 103


def test_an_unchanged_document_is_not_sent_again(client):
    first = client.get("/api/v1/openapi.json")
    assert first.get_json()["info"]["version"] == "1.2.3"
    known = {"If-None-Match": first.headers["ETag"]}
    assert client.get("/api/v1/openapi.json", headers=known).status_code == 304
