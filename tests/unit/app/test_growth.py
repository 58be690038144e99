"""Whatever a client sends is looked at in a time that grows no faster than its length.

Growth is measured and not seconds: the same input made sixteen times as long takes about sixteen
times as long, and would take 256 times as long if every character were looked at from every other.
"""

import ast
import contextlib
import importlib
import logging
import pathlib
import pkgutil
import re
import time

import counterapp
import pytest
from counterapp import access, admin, colours, letters, places, shortcut, transfer
from counterapp.counters import Key
from counterapp.logs import AccessLog
from flask import Flask
from werkzeug.exceptions import HTTPException, Unauthorized

SHORT = 512
TIMES = 16
MOST_GROWTH = 4 * TIMES
"""Far from both: 16 for what is linear, 256 for what is not."""

OPERATORS_WORDS = {"gunicorn_conf", "settings"}
"""Modules whose patterns meet the environment and nothing else."""

RUNS = [" ", "\t", "a", "0", "=", "-", ".", "/", "+", ":", ",", ";", '"', "\\", "%", "%41", "é"]
PAIRS = ["a ", "a,", "a;", "a.", "a=", 'a"', '",', '"a" ,', "a/", "../", "{}", "[", "\r\n", '{"a":']


def nasty(length):
    """Return long runs of one thing, alone and with something before and behind that fits badly."""
    for unit in RUNS + PAIRS:
        run = (unit * (length // len(unit)))[:length]
        yield from (run, f"a{run}a", f"{run}!{run}")


INPUTS = tuple(zip(nasty(SHORT), nasty(SHORT * TIMES), strict=True))


def took(work, goes):
    """Return the seconds of the quickest of some goes: what is more is other programs' time."""
    best = float("inf")
    for _ in range(goes):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


def growth(look, short, long, goes=1):
    """Return how many times as long ``look`` takes for the long input.

    What is below 20 µs is work that does not depend on the length, and the clock's own.
    """
    return took(lambda: look(long), goes) / max(took(lambda: look(short), goes), 2e-5)


def check_growth(look, fit=lambda text: True):
    """Make sure that ``look`` takes no more than in proportion to its input.

    :param fit: tells which inputs can come there at all.
    """
    bad = {
        f"{short[:12]!r}…{short[-2:]!r}": round(growth(look, short, long))
        for short, long in INPUTS
        # Seen once, it may have been another program's doing.
        if fit(short)
        and growth(look, short, long) > MOST_GROWTH
        and growth(look, short, long, goes=5) > MOST_GROWTH
    }
    assert not bad


def printable(text):
    return text.isascii() and text.isprintable()


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Keep what is logged of all these requests to itself."""
    monkeypatch.setattr(logging.getLogger(AccessLog.NAME), "disabled", True)


def test_what_takes_quadratic_time_is_found():
    pattern = re.compile("(.*?) *$")
    with pytest.raises(AssertionError):
        check_growth(pattern.match)


def modules():
    for found in pkgutil.iter_modules(counterapp.__path__):
        # The server's own need a process that gevent has changed, and have no patterns.
        if found.name not in OPERATORS_WORDS and not found.name.startswith(("gunicorn_", "wsgi")):
            yield importlib.import_module(f"counterapp.{found.name}")


def patterns():
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield pytest.param(value, id=f"{module.__name__}.{name}")


@pytest.mark.parametrize("pattern", list(patterns()))
def test_each_pattern_takes_linear_time(pattern):
    def text(words):
        return words.encode() if isinstance(pattern.pattern, bytes) else words

    check_growth(lambda words: pattern.fullmatch(text(words)))
    # Where one is searched for what it begins with, there are as many beginnings as characters.
    check_growth(lambda words: pattern.findall(text(words)))


def test_there_are_no_patterns_that_the_walk_does_not_see():
    for module in modules():
        tree = ast.parse(pathlib.Path(module.__file__).read_text())
        inside = {
            call.lineno
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            for call in ast.walk(function)
            if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("re.")
        }
        assert not inside, f"{module.__file__}: compile the patterns of lines {inside} as constants"


HITS = "POST /api/v1/counters/site/visits/hits HTTP/1.1\r\nHost: here\r\n"


@pytest.fixture
def unbounded(monkeypatch):
    """Let the short way look at heads of any length."""
    monkeypatch.setattr(shortcut, "LONGEST", 10**9)


@pytest.mark.parametrize("field", ["X-Other: ", "X-Request-ID: ", "Connection: ", "Host:", ""])
@pytest.mark.parametrize("end", ["\r\n\r\n", "\r\n", ""])
def test_heads_of_hits_are_looked_at_in_linear_time(unbounded, field, end):
    check_growth(lambda words: shortcut.plain_hit(f"{HITS}{field}{words}{end}".encode()))


def test_no_head_beyond_the_limit_is_looked_at():
    room = shortcut.LONGEST - len(HITS) - len("X-Other: \r\n\r\n")
    for longer in (0, 1):
        head = f"{HITS}X-Other: {'a' * (room + longer)}\r\n\r\n".encode()
        assert (shortcut.plain_hit(head) is None) == bool(longer)


@pytest.mark.parametrize(
    "look",
    [
        places.page_name,
        lambda words: colours.parse(words, "#fff"),
        lambda words: letters.drawable(words, 100),
        lambda words: admin.digest(words),
        lambda words: transfer._csv_row(["value"], [words]),
    ],
)
def test_words_of_clients_are_read_in_linear_time(look):
    check_growth(look)


@pytest.mark.parametrize(
    ("content_type", "before", "behind"),
    [
        ("text/csv", "key,value\r\nname,", ""),
        ("text/csv", "key,value\r\n", ",1\r\n"),
        ("text/csv", 'key,value\r\n"', '"'),
        ("text/csv", "", ""),
        ("application/json", "", ""),
        ("application/json", '[{"key": "', '"}]'),
        ("application/json", '[{"key": "name", "value": ', "}]"),
    ],
)
def test_imports_are_read_in_linear_time(content_type, before, behind):
    app = Flask("test")

    def look(words):
        body = f"{before}{words}{behind}".encode()
        asked = app.test_request_context(method="POST", data=body, content_type=content_type)
        # Most are refused, as they should be: how fast is what counts.
        with asked, contextlib.suppress(HTTPException):
            transfer._sorted_out(transfer._rows())

    check_growth(look)


FIELDS = (
    *("Accept", "Accept-Encoding", "Authorization", "Cache-Control", "Content-Type", "Cookie"),
    *("Host", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "Idempotency-Key"),
    *("Origin", "Range", "Referer", "X-Forwarded-For", "X-Request-ID", "Sec-Purpose", "Purpose"),
)
BEFORE = {
    "Authorization": ("", "Bearer ", "Basic ", "Digest a="),
    "Content-Type": ("", "text/plain; a="),
    "Range": ("", "bytes="),
    "Referer": ("", "http://", "http://here/"),
}
PATHS = ("/api/v1/counters/site/there", "/info/:HOST:/:PATHNAME:", "/badge/site/there.svg", "/")


@pytest.mark.parametrize("field", FIELDS)
def test_fields_of_requests_are_read_in_linear_time(client, store, field):
    store.hit(Key("site", "there"))

    for before in BEFORE.get(field, ("",)):

        def look(words, before=before):
            for path in PATHS:
                client.get(path, headers={field: before + words})

        check_growth(look, printable)


@pytest.mark.parametrize(
    "path",
    [
        *("/{}", "/hit/site/{}", "/badge/{}", "/badge/site/{}.svg", "/badge/site/there.svg?{}"),
        *("/badge/site/there.svg?label={}", "/badge/site/there.svg?color={}", "/get/site/there?{}"),
        *("/get/site/there?callback={}", "/update/site/there?amount={}", "/stream/{}"),
        *("/api/v1/counters/{}", "/api/v1/counters?after={}", "/api/v1/counters?limit={}"),
        "/api/v1/counters/site/there/history?resolution={}",
    ],
)
def test_paths_are_read_in_linear_time(client, path):
    check_growth(lambda words: client.get(path.format(words)), printable)


def test_admin_keys_and_tokens_are_read_in_linear_time():
    app = Flask("test")

    def look(words):
        asked = app.test_request_context(headers={"Authorization": f"Bearer {words}"})
        with asked, contextlib.suppress(Unauthorized):
            access.bearer()

    check_growth(look, printable)
