"""Abacus' badges: its parameters, and nothing in the image that a client has smuggled in."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.svg import SVG, fills, texts

STYLES = ["flat", "flat-square", "plastic", "flat-simple", "flat-square-simple", "plastic-simple"]


@pytest.fixture
def shield(client):
    """Return a function that gets the badge of a counter of 1,234 and parses it."""
    client.get("/create/site/page?value=1234")

    def get(**query):
        answer = client.get("/get/site/page/shield", query_string=query)
        assert answer.status_code == 200
        assert answer.mimetype == "image/svg+xml"
        return ET.fromstring(answer.data)

    return get


def letters(svg):
    return next(node for node in svg.iter(f"{SVG}g") if node.get("font-size"))


def test_a_view_counts_and_shows_the_new_value(client):
    for value in ("1", "2"):
        answer = client.get("/hit/site/page/shield")
        assert texts(ET.fromstring(answer.data)) == ["counter", value]
    assert answer.headers["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate"
    assert answer.headers["X-Path"] == "site/page"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert client.get("/get/site/page").json == {"value": 2}


def test_a_view_ahead_or_once_more_with_the_same_key_does_not_count(client):
    once = {"Idempotency-Key": "one"}
    for _ in range(2):
        answer = client.get("/hit/site/page/shield", headers=once)
    assert answer.headers["Idempotency-Replayed"] == "true"
    ahead = client.get("/hit/site/page/shield", headers={"Sec-Purpose": "prefetch"})
    assert texts(ET.fromstring(ahead.data)) == ["counter", "1"]
    assert client.head("/hit/site/page/shield").status_code == 405
    assert client.get("/get/site/page").json == {"value": 1}


def test_as_it_is_without_parameters(shield):
    svg = shield()
    assert texts(svg) == ["counter", "1234"]
    assert svg.get("aria-label") == svg.find(f"{SVG}title").text == "counter: 1234"
    assert fills(svg) == ["#555", "#007ec6"]
    said = letters(svg)
    assert (said.get("fill"), said.get("font-size")) == ("#fff", "11")
    assert said.get("font-family").startswith("Verdana")


def test_as_the_parameters_have_it(shield):
    svg = shield(
        bgcolor="#e05d44", textcolor="ff0", text="visits", fontsize="22", font="Arial-Bold"
    )
    assert texts(svg) == ["visits", "1234"]
    assert fills(svg) == ["#555", "#e05d44"]
    said = letters(svg)
    assert (said.get("fill"), said.get("font-size")) == ("#ff0", "22")
    assert said.get("font-family").startswith("Arial")
    assert said.get("font-weight") == "bold"
    assert float(svg.get("height")) == pytest.approx(2 * float(shield().get("height")))


@pytest.mark.parametrize("style", STYLES)
def test_a_simple_style_shows_the_value_alone_and_all_fit(shield, style):
    svg = shield(style=style, text="visits")
    assert texts(svg) == (["1234"] if style.endswith("-simple") else ["visits", "1234"])
    widths = [float(node.get("textLength")) for node in svg.iter(f"{SVG}text")]
    assert 0 < sum(set(widths)) < float(svg.get("width"))


def test_the_styles_look_different(shield):
    assert len({ET.tostring(shield(style=style)) for style in STYLES}) == len(STYLES)


@pytest.mark.parametrize("size", ["3", "-5", "0", "abc", "", "nan", "inf", "1e9", "201"])
def test_a_size_that_is_none_is_the_usual_one(shield, size):
    assert letters(shield(fontsize=size)).get("font-size") == "11"


def test_a_style_or_font_that_is_none_is_the_usual_one(shield):
    assert ET.tostring(shield(style="nonsense", font="wingdings")) == ET.tostring(shield())
    odd, usual = shield(style="odd-simple"), shield(style="flat-simple")
    assert ET.tostring(odd) == ET.tostring(usual)


@pytest.mark.parametrize("name", ["bgcolor", "textcolor"])
@pytest.mark.parametrize("colour", ["purple", "", "12345", "ff5500;", '"/><script>'])
def test_a_colour_that_is_none_is_refused_and_counts_nothing(client, name, colour):
    answer = client.get("/hit/site/page/shield", query_string={name: colour})
    assert (answer.status_code, list(answer.json)) == (400, ["error"])
    assert name in answer.json["error"]
    assert client.get("/get/site/page").status_code == 404


def test_what_is_not_there_is_told_as_abacus_tells_it(client, store):
    answer = client.get("/get/site/nobody/shield")
    assert (answer.status_code, answer.json["error"]) == (404, "Key not found")
    store.broken = "The database has no primary that can be reached"
    assert client.get("/hit/site/page/shield").status_code == 503


def test_a_counter_may_be_called_shield(client):
    assert client.get("/hit/page/shield").json == {"value": 1}
    assert client.get("/hit/page/shield").headers["X-Path"] == "page/shield"


@examples(50)
@given(st.text(max_size=120), st.sampled_from(STYLES))
def test_any_text_makes_a_good_image(client, text, style):
    client.get("/create/site/page")
    query = {"text": text, "style": style}
    answer = client.get("/get/site/page/shield", query_string=query)
    assert answer.status_code == 200
    svg = ET.fromstring(answer.data)
    assert {node.tag.removeprefix(SVG) for node in svg.iter()} <= {
        *("svg", "title", "g", "rect", "text", "linearGradient", "stop", "clipPath")
    }
