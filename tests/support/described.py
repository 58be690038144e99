"""A test client that holds every answer to programs against the app's own OpenAPI document."""

import functools
import re

import jsonschema_rs
from counterapp import openapi
from flask.testing import FlaskClient


class DescribedClient(FlaskClient):
    """Fails the test when an answer is none that the document promises."""

    def open(self, *args, **kwargs):
        response = super().open(*args, **kwargs)
        path = response.request.path
        if response.request.method not in {"OPTIONS", "HEAD"}:
            check(document(), response.request.method, path, response)
        return response


@functools.cache
def document():
    """Return the document, without a request that a test would find in logs and metrics."""
    return openapi.document("1.2.3")


def resolved(document, part):
    """Return a part of the document, or what it refers to."""
    if "$ref" in part:
        for word in part["$ref"].removeprefix("#/").split("/"):
            document = document[word]
        return document
    return part


def template(document, path):
    """Return the path of the document that a request's path is one of; None for none."""
    # Where a name ends with ".svg" as well, the longer pattern is the badge's.
    for each in sorted(document["paths"], key=len, reverse=True):
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(each)), path):
            return each
    return None


def check(document, method, path, response):
    found = template(document, path)
    operation = document["paths"].get(found, {}).get(method.lower())
    if operation is None and not path.startswith("/api/v1/"):
        return
    if operation is None:
        # No such path or method: not for the document to describe, but a problem all the same.
        assert response.status_code in {404, 405}, (method, path, response.status_code)
        assert response.mimetype == "application/problem+json"
        return
    if response.status_code == 500:
        # A bug of ours is in no document.
        return
    described = operation["responses"].get(str(response.status_code))
    assert described, f"{method} {found} has no {response.status_code} in its document"
    described = resolved(document, described)
    for name, header in described.get("headers", {}).items():
        assert not header.get("required") or name in response.headers, (method, found, name)
    content = described.get("content")
    if content is None:
        assert response.data == b""
        return
    assert response.mimetype in content, (method, found, response.mimetype)
    if response.mimetype.endswith("json"):
        schema = content[response.mimetype]["schema"]
        whole = {**schema, "components": document["components"]}
        validator(repr(whole), jsonschema_rs.validator_for, whole).validate(response.get_json())


_validators = {}


def validator(name, make, schema):
    if name not in _validators:
        _validators[name] = make(schema, validate_formats=True)
    return _validators[name]
