"""The built front end: every file of it, none other."""

import re
from urllib.parse import unquote

import pytest
from counterapp.app import create_app

from tests.support.memory_store import MemoryStore

POLICY = "Content-Security-Policy"


@pytest.mark.parametrize("path", ["/", "/index.html"])
def test_the_page_is_made_anew_each_time_and_runs_its_own_scripts_only(settings, static, path):
    head = '<script type="module" src="/assets/index-abc123.js">'
    (static / "index.html").write_text(f"<!doctype html><title>counterapp</title>{head}</script>")
    client = create_app(settings, MemoryStore()).test_client()
    found = []
    for _ in range(2):
        response = client.get(path)
        assert response.status_code == 200
        assert response.mimetype == "text/html"
        assert "<title>counterapp</title>" in response.text
        assert response.headers["Cache-Control"] == "no-store"
        [nonce] = re.findall("script-src 'nonce-([^']+)';", response.headers[POLICY])
        assert f'<script nonce="{nonce}" type="module" src=' in response.text
        assert "script-src 'self'" not in response.headers[POLICY]
        found.append(nonce)
    assert len(found[0]) >= 16
    assert found[0] != found[1]


def test_no_text_of_the_page_is_taken_for_a_script(settings, static):
    page = "<noscript>x</noscript><SCRIPT>1</SCRIPT><scripts></scripts><link rel=icon>&lt;script>"
    (static / "index.html").write_text(page)
    client = create_app(settings, MemoryStore()).test_client()
    text = client.get("/").text
    assert re.sub(' nonce="[^"]+"', "", text) == page
    assert text.count("nonce=") == 2


def test_assets_are_kept_for_good(client):
    response = client.get("/assets/index-abc123.js")
    assert response.status_code == 200
    assert response.mimetype == "text/javascript"
    cache = response.headers["Cache-Control"]
    assert "immutable" in cache
    assert "max-age=31536000" in cache


def test_an_unchanged_file_is_not_sent_again(client):
    etag = client.get("/favicon.svg").headers["ETag"]
    response = client.get("/favicon.svg", headers={"If-None-Match": etag})
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
