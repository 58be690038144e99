"""Badges: well-formed and harmless whatever they are asked to say."""

import xml.etree.ElementTree as ET

import pytest
from counterapp import colours, figures
from counterapp.counters import LARGEST, Full, KeyReused, Overloaded, StoreUnavailable
from counterapp.letters import drawable, width
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.svg import SVG, fills, texts

STYLES = ["flat", "flat-square", "plastic", "for-the-badge", "social"]


@pytest.fixture
def badge(client):
    """Return a function that gets the badge of a counter of 12,345 and parses it."""
    client.get("/create/site/page?value=12345")

    def get(**query):
        answer = client.get("/badge/site/page.svg", query_string=query)
        assert answer.status_code == 200
        assert answer.mimetype == "image/svg+xml"
        return ET.fromstring(answer.data)

    return get


def test_it_says_hits_and_the_value_and_tells_screen_readers(badge):
    svg = badge()
    assert texts(svg) == ["hits", "12345"]
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == svg.find(f"{SVG}title").text == "hits: 12345"


@pytest.mark.parametrize("style", STYLES)
def test_each_style_says_the_same_within_its_own_width(badge, style):
    svg = badge(style=style, label="visits")
    said = [text.lower() for text in texts(svg)]
    assert said == ["visits", "12345"]
    assert svg.get("aria-label") == "visits: 12345"
    widths = [float(node.get("textLength")) for node in svg.iter(f"{SVG}text")]
    assert 0 < sum(set(widths)) < float(svg.get("width"))


def test_the_styles_look_different(badge):
    assert len({ET.tostring(badge(style=style)) for style in STYLES}) == len(STYLES)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "12345"),
        ({"abbreviated": "true"}, "12k"),
        ({"abbreviated": "1", "separator": ","}, "12k"),
        ({"abbreviated": "false"}, "12345"),
        ({"separator": ","}, "12,345"),
        ({"separator": "."}, "12.345"),
        ({"separator": "'"}, "12'345"),
        ({"separator": " "}, "12 345"),
        ({"separator": "<x>"}, "12345"),
        ({"separator": ""}, "12345"),
    ],
)
def test_numbers_are_written_as_is_asked_for(badge, query, said):
    svg = badge(**query)
    assert texts(svg)[1] == said
    assert svg.get("aria-label") == f"hits: {said}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        *((0, "0"), (999, "999"), (1000, "1k"), (1049, "1k"), (1050, "1.1k"), (9949, "9.9k")),
        *((9950, "10k"), (12345, "12k"), (999_499, "999k"), (999_500, "1M"), (1_234_567, "1.2M")),
        *((-1_234_567, "-1.2M"), (-999, "-999"), (LARGEST, "9P")),
    ],
)
def test_numbers_are_cut_short_as_shields_does_it(value, said):
    assert figures.abbreviated(value) == said


def test_an_unknown_style_is_flat_as_with_shields(badge):
    assert ET.tostring(badge(style="<x>")) == ET.tostring(badge())


@pytest.mark.parametrize(
    ("colour", "fill"),
    [
        ("brightgreen", "#4c1"),
        ("green", "#97ca00"),
        ("critical", "#e05d44"),
        ("rebeccapurple", "#663399"),
        ("ff69b4", "#ff69b4"),
        ("#F90", "#f90"),
        (" Red ", "#e05d44"),
        ("ff69b", "#007ec6"),
        ('red"/><script>', "#007ec6"),
        ("url(#x)", "#007ec6"),
        ("", "#007ec6"),
    ],
)
def test_colours_are_those_of_shields_and_css_or_the_default(badge, colour, fill):
    assert fills(badge(color=colour))[1] == fill
    assert fills(badge(labelColor=colour))[0] == ("#555" if fill == "#007ec6" else fill)
    # The names that shields had for them before.
    assert fills(badge(colorB=colour))[1] == fill
    assert fills(badge(colorA=colour))[0] == ("#555" if fill == "#007ec6" else fill)


def test_the_new_names_of_colours_go_before_the_old_ones(badge):
    asked = {"color": "red", "colorB": "green", "labelColor": "000", "colorA": "fff"}
    assert fills(badge(**asked)) == ["#000", "#e05d44"]


def test_there_are_all_colours_of_css():
    # Six names are only shields' own.
    assert len(colours.NAMED) == 148 + 6
    assert all(colours.parse(digits, "no") == digits for digits in colours.NAMED.values())


def test_letters_are_dark_on_light_colours(badge):
    def letters(colour):
        return [
            node.get("fill") for node in badge(color=colour, style="flat-square").iter(f"{SVG}text")
        ]

    assert letters("white") == ["#fff", "#333"]
    assert letters("000") == ["#fff", "#fff"]


def test_without_a_label_there_is_one_box(badge):
    svg = badge(label="")
    assert texts(svg) == ["12345"]
    assert svg.get("aria-label") == "12345"
    assert badge(label="", style="social").get("aria-label") == "12345"


NASTY = '</text><script>alert(1)</script><image href="x" onerror="y"/>&amp;\'"'


@pytest.mark.parametrize("style", STYLES)
def test_a_label_is_text_and_never_markup(badge, style):
    svg = badge(label=NASTY, style=style)
    assert {node.tag.removeprefix(SVG) for node in svg.iter()} <= {
        *("svg", "title", "linearGradient", "stop", "clipPath", "rect", "g", "text", "path")
    }
    assert svg.get("aria-label") == f"{NASTY}: 12345"


@examples(150)
@given(label=st.text(max_size=300), style=st.sampled_from(STYLES), colour=st.text(max_size=20))
def test_any_label_gives_well_formed_svg(badge, label, style, colour):
    safe = label.encode("utf-8", "replace").decode()
    svg = badge(label=safe, style=style, color=colour)
    assert float(svg.get("width")) < 3000
    assert all(node.tag.startswith(SVG) for node in svg.iter())


def test_bytes_that_are_no_text_do_not_break_it(client, badge):
    answer = client.get("/badge/site/page.svg", environ_overrides={"QUERY_STRING": "label=%ff%00"})
    assert ET.fromstring(answer.data) is not None


def test_text_is_measured_by_what_is_seen():
    assert width("iii", 11) < width("mmm", 11) < width("漢漢漢", 11)
    assert width("e\u0301", 11) == width("e", 11)
    assert width("abc", 11, bold=True) > width("abc", 11)
    assert drawable("a\x00b\u202ec\n d\ud800", 100) == "a b c d"
    assert drawable("x" * 200, 100) == "x" * 99 + "…"


def test_a_badge_counts_nothing(client, badge):
    badge()
    assert client.get("/get/site/page").json == {"value": 12345}


def test_proxies_must_ask_each_time_and_get_304_when_it_is_the_same(client, badge):
    first = client.get("/badge/site/page.svg")
    assert first.headers["Cache-Control"] == "no-cache"
    known = {"If-None-Match": first.headers["ETag"]}
    assert client.get("/badge/site/page.svg", headers=known).status_code == 304
    other = {"If-Match": '"other"'}
    assert client.get("/badge/site/page.svg", headers=other).status_code == 200
    client.get("/hit/site/page")
    assert client.get("/badge/site/page.svg", headers=known).status_code == 200


def test_nothing_runs_in_it_for_who_opens_it(client, badge):
    policy = client.get("/badge/site/page.svg").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/badge/nobody.svg", "not found"),
        ("/badge/a.svg", "bad name"),
        ("/badge/site/%C3%BCxy.svg", "bad name"),
        ("/badge/site/page.svg?hit=yes", "bad hit"),
        ("/badge/site/page.svg?hit", "bad hit"),
    ],
)
def test_what_asking_again_cannot_change_is_said_in_an_image_that_is_shown(client, path, said):
    """GitHub's proxy shows nothing of an image that comes with another status than 200."""
    answer = client.get(path + ("&" if "?" in path else "?") + "color=blue&labelColor=blue")
    assert answer.status_code == 200
    svg = ET.fromstring(answer.data)
    assert texts(svg)[1] == said
    # Whatever colours were asked for: it should look like what it is.
    assert fills(svg) == ["#555", "#e05d44"]
    assert client.get("/get/site/page").status_code == 404


def test_a_lost_database_is_said_in_the_image(client, store, badge):
    store.broken = "gone"
    answer = client.get("/badge/site/page.svg")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert texts(ET.fromstring(answer.data)) == ["hits", "unavailable"]


@pytest.mark.parametrize(
    "path", ["/badge/page", "/badge/", "/badge/a/b/c.svg", "/badge/.svg", "/badge/.json"]
)
def test_other_paths_are_nowhere(client, path):
    assert client.get(path).status_code == 404


def test_a_badge_that_is_one_too_many_says_when_to_come_back(client, store, monkeypatch):
    def refuse(key):
        raise Overloaded("Too many requests wait for the database already")

    monkeypatch.setattr(store, "read", refuse)
    answer = client.get("/badge/page.svg")
    assert answer.status_code == 503
    assert answer.mimetype == "image/svg+xml"
    assert answer.headers["Retry-After"]


def count(client):
    return client.get("/get/site/page").json["value"]


def test_a_badge_that_counts_shows_the_hit_that_it_counted(client, badge):
    assert texts(badge(hit="1"))[1] == "12346"
    assert texts(badge(hit="true", separator=","))[1] == "12,347"
    assert texts(badge(hit="0"))[1] == texts(badge())[1] == "12347"


def test_a_counting_badge_makes_its_counter_as_any_hit_does(client):
    assert texts(ET.fromstring(client.get("/badge/site/page.svg?hit=1").data)) == ["hits", "1"]
    assert count(client) == 1


def test_an_image_that_counts_is_kept_by_nobody(client, badge):
    first = client.get("/badge/site/page.svg?hit=1")
    assert first.headers["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate"
    assert "ETag" not in first.headers
    plain = client.get("/badge/site/page.svg").headers["ETag"]
    again = client.get("/badge/site/page.svg?hit=1", headers={"If-None-Match": plain})
    assert again.status_code == 200
    assert texts(ET.fromstring(again.data))[1] == "12347"


@pytest.mark.parametrize(
    ("method", "headers"), [("HEAD", {}), ("GET", {"Sec-Purpose": "prefetch;prerender"})]
)
def test_who_only_looks_or_looks_ahead_is_not_counted(client, method, headers):
    path = "/badge/site/page.svg?hit=1"
    answer = client.open(path, method=method, headers=headers)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    assert client.get("/get/site/page").status_code == 404
    client.get(path)
    if method == "GET":
        assert texts(ET.fromstring(answer.data))[1] == "0"
        shown = client.get(path, headers=headers)
        assert texts(ET.fromstring(shown.data))[1] == "1"
    assert count(client) == 1


def test_a_hit_with_a_key_counts_once(client, badge):
    once = {"Idempotency-Key": "one"}
    first, again = (client.get("/badge/site/page.svg?hit=1", headers=once) for _ in range(2))
    assert first.data == again.data
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert count(client) == 12346
    # Who reads counts nothing, whatever comes along.
    assert client.get("/badge/site/page.svg", headers=once).status_code == 200
    bad = client.get("/badge/site/page.svg?hit=1", headers={"Idempotency-Key": "a" * 256})
    assert bad.status_code == 400


@pytest.mark.parametrize(
    ("error", "status", "said", "after"),
    [
        (StoreUnavailable("gone"), 503, "unavailable", "2"),
        (Overloaded("too many"), 503, "unavailable", "2"),
        (Full("no room"), 429, "unavailable", "60"),
        (KeyReused("used"), 200, "not counted", None),
    ],
)
def test_a_hit_that_failed_is_said_in_the_image(
    client, store, monkeypatch, error, status, said, after
):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(store, "hit", refuse)
    answer = client.get("/badge/site/page.svg?hit=1&color=blue")
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == after
    assert "no-store" in answer.headers["Cache-Control"]
    assert texts(ET.fromstring(answer.data))[1] == said


def test_a_client_that_may_make_no_more_counters_is_told_when_it_may(client, settings):
    for number in range(settings.client_creations):
        assert client.get(f"/badge/site/page{number}.svg?hit=1").status_code == 200
    refused = client.get("/badge/site/other.svg?hit=1")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert client.get("/badge/site/page0.svg?hit=1").status_code == 200


# What shields takes of an endpoint, and no more than this: badges/shields,
# services/endpoint-common.js.
SCHEMA = {
    **{name: str for name in ("label", "message", "color", "labelColor", "style", "namedLogo")},
    **{"schemaVersion": int, "isError": bool, "cacheSeconds": int},
}


def described(client, query="", path="/badge/site/page.json"):
    answer = client.get(f"{path}?{query}")
    body = answer.get_json()
    assert all(type(value) is SCHEMA[name] for name, value in body.items())
    assert {"schemaVersion", "label", "message"} <= body.keys()
    assert body["schemaVersion"] == 1
    assert body["message"]
    return answer, body


def test_shields_gets_what_it_draws_a_badge_from(client, badge):
    _, body = described(client)
    assert body == {"schemaVersion": 1, "label": "hits", "message": "12345", "color": "blue"}
    _, body = described(client, "label=&color=f90&colorA=red&style=plastic&abbreviated=true")
    assert body == {
        **{"schemaVersion": 1, "label": "", "message": "12k", "style": "plastic"},
        **{"color": "#f90", "labelColor": "#e05d44"},
    }
    _, body = described(client, "style=x&labelColor=x&color=x")
    assert body.keys() == {"schemaVersion", "label", "message", "color"}


def test_shields_is_told_of_errors_in_the_way_that_it_has_for_them(client, store):
    answer, body = described(client, "color=green&labelColor=green")
    assert answer.status_code == 200
    assert body["isError"] is True
    assert (body["message"], body["color"]) == ("not found", "red")
    assert "labelColor" not in body
    assert described(client, path="/badge/a.json")[1]["message"] == "bad name"
    store.broken = "gone"
    answer, body = described(client)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert body["message"] == "unavailable"
    assert "ETag" not in answer.headers


def test_what_shields_asks_for_counts_nothing_and_may_be_kept_while_it_is_the_same(client, badge):
    first, _ = described(client, "hit=1")
    assert count(client) == 12345
    assert first.headers["Cache-Control"] == "no-cache"
    known = {"If-None-Match": first.headers["ETag"]}
    assert client.get("/badge/site/page.json?hit=1", headers=known).status_code == 304
