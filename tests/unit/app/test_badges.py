"""Badges: well-formed and harmless whatever they are asked to say."""

import xml.etree.ElementTree as ET

import pytest
from counterapp import colours
from counterapp.counters import Overloaded
from counterapp.letters import drawable, width
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples

SVG = "{http://www.w3.org/2000/svg}"
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


def texts(svg):
    return [node.text for node in svg.iter(f"{SVG}text") if node.get("aria-hidden") != "true"]


def fills(svg):
    """The colours of the boxes: not the shade above them, nor what cuts their corners."""
    found = [node.get("fill", "") for node in svg.iter(f"{SVG}rect")]
    return [fill for fill in found if fill.startswith("#")]


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
    client.get("/hit/site/page")
    assert client.get("/badge/site/page.svg", headers=known).status_code == 200


def test_nothing_runs_in_it_for_who_opens_it(client, badge):
    policy = client.get("/badge/site/page.svg").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/badge/nobody.svg", 404, "not found"),
        ("/badge/a.svg", 400, "bad name"),
        ("/badge/site/%C3%BCxy.svg", 400, "bad name"),
    ],
)
def test_what_cannot_be_shown_is_said_in_the_image(client, path, status, said):
    answer = client.get(path)
    assert answer.status_code == status
    assert texts(ET.fromstring(answer.data))[1] == said


def test_a_lost_database_is_said_in_the_image(client, store, badge):
    store.broken = "gone"
    answer = client.get("/badge/site/page.svg")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert texts(ET.fromstring(answer.data)) == ["hits", "unavailable"]


@pytest.mark.parametrize("path", ["/badge/page", "/badge/", "/badge/a/b/c.svg", "/badge/.svg"])
def test_other_paths_are_nowhere(client, path):
    assert client.get(path).status_code == 404


def test_a_badge_that_is_one_too_many_says_when_to_come_back(client, store, monkeypatch):
    def refuse(key):
        raise Overloaded("Too many requests wait for the database already")

    monkeypatch.setattr(store, "read", refuse)
    answer = client.get("/badge/page.svg")
    assert answer.status_code == 429
    assert answer.mimetype == "image/svg+xml"
    assert answer.headers["Retry-After"]
