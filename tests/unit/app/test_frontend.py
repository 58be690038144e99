"""The built front end: every file of it, none other."""

import os
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


@pytest.fixture
def compressed(static):
    """The files of ``static`` with what the build puts beside them."""
    for end, text in ((".br", b"as brotli"), (".gz", b"gzipped")):
        (static / "assets" / f"index-abc123.js{end}").write_bytes(text)
    (static / "assets" / "alone.css.gz").write_bytes(b"of no file")
    return "/assets/index-abc123.js"


@pytest.mark.parametrize(
    ("accepted", "encoding", "body"),
    [
        ("gzip, deflate, br, zstd", "br", b"as brotli"),
        ("gzip, deflate", "gzip", b"gzipped"),
        ("GZIP", "gzip", b"gzipped"),
        ("*", "br", b"as brotli"),
        ("br;q=0, *;q=0.5", "gzip", b"gzipped"),
        ("br;q=0.2, gzip;q=0.8", "gzip", b"gzipped"),
        ("gzip;q=0.5, identity;q=0.9", None, b"export {}"),
        ("gzip;q=0, br;q=0", None, b"export {}"),
        ("deflate", None, b"export {}"),
        ("", None, b"export {}"),
        (None, None, b"export {}"),
    ],
)
def test_a_file_comes_in_the_encoding_that_the_client_takes(
    compressed, client, accepted, encoding, body
):
    response = client.get(compressed, headers=accepting(accepted))
    assert response.status_code == 200
    assert response.headers.get("Content-Encoding") == encoding
    assert response.data == body
    assert response.content_length == len(body)
    assert response.mimetype == "text/javascript"
    assert "Accept-Encoding" in response.vary
    assert "immutable" in response.headers["Cache-Control"]


def accepting(accepted):
    return {} if accepted is None else {"Accept-Encoding": accepted}


def test_each_encoding_has_a_tag_of_its_own_that_is_the_same_from_every_node(
    compressed, client, static
):
    def tag(accepted):
        return client.get(compressed, headers=accepting(accepted)).headers["ETag"]

    tags = [tag(each) for each in ("br", "gzip", None)]
    assert len(set(tags)) == 3
    for each in static.rglob("*.js*"):
        os.utime(each, (1, 1))
    assert [tag(each) for each in ("br", "gzip", None)] == tags
    known = client.get(compressed, headers={"Accept-Encoding": "br", "If-None-Match": tags[0]})
    assert known.status_code == 304
    assert "Accept-Encoding" in known.vary
    other = client.get(compressed, headers={"Accept-Encoding": "gzip", "If-None-Match": tags[0]})
    assert (other.status_code, other.data) == (200, b"gzipped")


def test_what_is_there_compressed_is_no_file_by_itself(compressed, client):
    for end in (".br", ".gz"):
        assert client.get(f"{compressed}{end}").status_code == 404


def test_a_file_that_is_there_in_one_way_only_varies_with_nothing(client):
    response = client.get("/favicon.svg", headers={"Accept-Encoding": "br, gzip"})
    assert "Content-Encoding" not in response.headers
    assert "Vary" not in response.headers


@pytest.mark.parametrize("path", ["/counter/blog", "/counter/mine/blog"])
def test_the_address_of_a_counter_is_the_page(client, store, path):
    response = client.get(path)
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert "nonce" in response.headers[POLICY]
    assert response.headers["Cache-Control"] == "no-store"
    assert client.get("/api/v1/counters/default/blog").status_code == 404
    assert client.post(path).status_code == 405


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
