"""The built front end: every file of it, none other."""

from urllib.parse import unquote

import pytest


@pytest.mark.parametrize("path", ["/", "/index.html"])
def test_the_page_is_always_asked_for_again(client, path):
    response = client.get(path)
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    assert b"<title>counterapp</title>" in response.data
    assert response.headers["Cache-Control"] == "no-cache"
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]


def test_assets_are_kept_for_good(client):
    response = client.get("/assets/index-abc123.js")
    assert response.status_code == 200
    assert response.mimetype == "text/javascript"
    cache = response.headers["Cache-Control"]
    assert "immutable" in cache
    assert "max-age=31536000" in cache


def test_an_unchanged_file_is_not_sent_again(client):
    etag = client.get("/").headers["ETag"]
    response = client.get("/", headers={"If-None-Match": etag})
    assert response.status_code == 304
    assert response.data == b""
    assert response.headers["X-Served-By"] == "web-1"


def test_head(client):
    response = client.head("/")
    assert response.status_code == 200
    assert response.data == b""


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/../../secret.txt",
        "/assets/%2e%2e%2f%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "//secret.txt",
        "/assets",
        "/assets/",
        "/assets/missing.js",
        "/etc/passwd",
        "/index.html%00.js",
        "/INDEX.HTML",
    ],
)
def test_nothing_else_is_served(client, path):
    # The test client would take the host out of a path with two slashes.
    response = client.get("/", environ_overrides={"PATH_INFO": unquote(path)})
    assert response.status_code == 404
    assert b"not for you" not in response.data
