"""Admin keys: what they are, and where requests carry them."""

import base64
import hashlib

import pytest
from counterapp import admin
from flask import Request
from werkzeug.test import EnvironBuilder


def asked(query="", **headers):
    return Request(EnvironBuilder(query_string=query, headers=headers).get_environ())


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_keys_are_all_different_and_hashed_whole():
    keys = {admin.make() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert admin.digest(key) == hashlib.sha256(key.encode()).hexdigest()


@pytest.mark.parametrize(
    ("authorization", "key"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("Bearer  abc", "abc"),
        (basic(":abc"), "abc"),
        (basic("me:abc"), "abc"),
        (basic("abc:"), "abc"),
        ("Bearer", None),
        ("Bearer ", None),
        (basic(":"), None),
        ("Basic !", None),
        ("Digest abc", None),
        ("\xff\xfe", None),
        ("", None),
    ],
)
def test_where_the_header_has_the_key(authorization, key):
    request = asked(Authorization=authorization)
    assert admin.bare(request) == key
    assert admin.presented(request) == (admin.digest(key) if key else None)


@pytest.mark.parametrize("name", ["admin_key", "token"])
def test_the_query_has_it_for_who_cannot_send_headers(name):
    assert admin.presented(asked(f"{name}=abc")) == admin.digest("abc")
    assert admin.presented(asked(f"{name}=")) is None


def test_the_header_wins():
    assert admin.bare(asked("token=other", Authorization="Bearer abc")) == "abc"


@pytest.mark.parametrize("key", ["ü", "\udcff", "😀", "x" * 8000])
def test_odd_keys_have_digests_too(key):
    assert len(admin.digest(key)) == 64
