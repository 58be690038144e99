"""The OpenAPI document is whole and true; the tests of ``/api/v1`` hold it against answers."""

import re

import jsonschema_rs
import pytest
import schemathesis


@pytest.fixture
def document(client):
    return client.get("/api/v1/openapi.json").get_json()


def test_it_describes_every_route_and_no_other(app, document):
    routes = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    base = document["servers"][0]["url"]
    described = {
        (base + path, method)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert described == routes


def test_each_operation_has_a_name_of_its_own_and_every_status_a_meaning(document):
    names = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            names.append(operation["operationId"])
            assert operation["summary"].endswith("."), path
            assert {"400", "413", "429", "503"} <= operation["responses"].keys(), path
            assert all(each["description"] for each in operation["responses"].values()), path
            if operation.get("security"):
                assert {"401", "403"} <= operation["responses"].keys(), path
    assert len(set(names)) == len(names)


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
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) == schemas


def test_every_schema_is_one(document):
    for name, schema in document["components"]["schemas"].items():
        whole = {**schema, "components": document["components"]}
        assert jsonschema_rs.meta.is_valid(whole), name
        jsonschema_rs.validator_for(whole)


def test_a_reader_of_such_documents_takes_it(document):
    operations = schemathesis.openapi.from_dict(document).get_all_operations()
    assert sum(operation.ok() is not None for operation in operations) == 16


def test_an_unchanged_document_is_not_sent_again(client):
    first = client.get("/api/v1/openapi.json")
    assert first.get_json()["info"]["version"] == "1.2.3"
    known = {"If-None-Match": first.headers["ETag"]}
    assert client.get("/api/v1/openapi.json", headers=known).status_code == 304
