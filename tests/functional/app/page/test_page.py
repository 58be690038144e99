"""The page as a person uses it."""

import datetime
import re
import threading

import pytest
import requests
from playwright.sync_api import expect

from tests.support.browser import INSECURE_HOST, counts, has_status
from tests.support.waiting import until

BUDGET = 140_000
"""Bytes that the page may take on its way to a browser, all its files together."""


def hit(node, key="default/shared"):
    answer = node.post(f"/api/v1/counters/{key}/hits")
    answer.raise_for_status()
    return answer.json()["value"]


def create(node, **plan):
    answer = node.post("/api/v1/counters", json=plan)
    answer.raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['admin_key']}"}


def test_a_visit_counts_once_and_the_page_says_who_answered(node, open_page):
    page = open_page(node.url)
    counts(page, 1)
    expect(page.get_by_text("Your visit is one of them")).to_be_visible()
    expect(page.get_by_test_id("served-by")).to_have_text("web-1")
    expect(page.get_by_test_id("release")).to_have_text(node.get("/livez").headers["X-Release"])
    expect(page.get_by_test_id("rate-hour")).to_have_text("1")
    page.reload()
    counts(page, 2)
    assert node.get("/api/v1/requests").json()["total"] == 2


def test_the_first_page_has_an_example_that_counts(node, open_page):
    page = open_page(node.url, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy Paste this").click()
    markdown = page.evaluate("navigator.clipboard.readText()")
    [address] = re.findall(r"^!\[hits\]\((http.*)\)$", markdown)
    for value in (1, 2):
        answer = requests.get(address, timeout=30)
        assert answer.headers["Content-Type"].startswith("image/svg+xml")
        assert node.get("/api/v1/counters/my-site/my-page").json()["value"] == value
    expect(page.get_by_role("link", name="API")).to_have_attribute("href", "/api/v1/openapi.json")


def test_hits_arrive_as_they_are_confirmed(node, open_page):
    page = open_page(node.url)
    counts(page, 1)
    # Only the stream is left to tell of it.
    page.route("**/api/v1/requests", lambda route: route.abort())
    hit(node)
    expect(page.get_by_test_id("count")).to_have_attribute("data-value", "2")
    expect(page.get_by_test_id("newest").get_by_role("listitem").first).to_contain_text(
        re.compile(r"through web-1\+[12]2")
    )


def test_many_hits_end_in_the_right_number_and_in_the_chart(node, open_page):
    page = open_page(node.url)
    counts(page, 1)
    threads = [threading.Thread(target=lambda: [hit(node) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        page.get_by_role("button", name="Count again").click()
        expect(page.get_by_role("button", name="Count again")).to_be_visible()
    for thread in threads:
        thread.join()
    counts(page, 46)
    numbers = page.evaluate("window.shownNumbers")
    assert numbers == sorted(numbers)
    expect(chart(page)).to_have_accessible_name(re.compile("The count went from [0-9]+ to 46"))
    page.get_by_text("The numbers as a table").click()
    expect(page.get_by_role("row").nth(1).get_by_role("cell").last).to_have_text("46")


def chart(page):
    return page.get_by_role("img", name="Chart of the last")


def colours(drawn):
    """Return the colours that a canvas has, as (red, green, blue)."""
    found = drawn.evaluate(
        """canvas => {
            const { data } = canvas.getContext('2d')
                .getImageData(0, 0, canvas.width, canvas.height)
            const solid = new Set()
            for (let at = 0; at < data.length; at += 4) {
                if (data[at + 3] > 100) solid.add(data.slice(at, at + 3).join())
            }
            return [...solid]
        }"""
    )
    return [tuple(int(part) for part in each.split(",")) for each in found]


def has_colour(drawn, wanted):
    # Edges are blended, and so a little off.
    return any(
        all(abs(a - b) <= 6 for a, b in zip(each, wanted, strict=True)) for each in colours(drawn)
    )


SERIES, MARK = (15, 118, 110), (146, 64, 14)
"""--accent and --warn of the light theme."""


@pytest.mark.parametrize("resolution", ["Minute", "Hour", "Day"])
def test_the_chart_is_drawn(node, open_page, resolution):
    page = open_page(node.url)
    page.get_by_role("button", name=resolution).click()
    expect(chart(page)).to_be_visible()
    assert has_colour(chart(page), SERIES)
    assert not has_colour(chart(page), MARK)


def test_where_the_count_was_set_is_marked_and_is_no_hit(node, open_page):
    admin = create(node, namespace="mine", key="visits", value=90)
    page = open_page(f"{node.url}/#/c/mine/visits")
    counts(page, 90)
    url = f"{node.url}/api/v1/counters/mine/visits/value"
    requests.put(url, json={"value": 3}, headers=admin, timeout=30).raise_for_status()
    counts(page, 3)
    # In the minute in which the counter was made nobody can tell: the page asks for what it sees.
    hour = 3600
    page.route("**/history?*", lambda route: route.fulfill(json=told_history(90, -87, hour)))
    page.get_by_role("button", name="Hour").click()
    expect(page.get_by_text("A dashed line: here the count was set")).to_be_visible()
    expect(chart(page)).to_have_accessible_name(re.compile("2 added in all"))
    assert has_colour(chart(page), MARK)
    page.get_by_text("The numbers as a table").click()
    row = page.get_by_role("row").nth(1)
    expect(row.get_by_role("cell")).to_have_text(["0", "-87", "3"])


def told_history(value, change, seconds):
    """Return a history of two points, in the second of which the count was set."""
    now = datetime.datetime.now(datetime.UTC)
    before = now - datetime.timedelta(seconds=seconds)
    points = [
        {"time": before.isoformat(), "value": value, "change": 2},
        {"time": now.isoformat(), "value": value + change, "change": 0},
    ]
    return {"resolution": "hour", "points": points}


def test_what_is_under_the_pointer_is_told_with_its_unit(node, open_page):
    page = open_page(node.url)
    counts(page, 1)
    plain = set(colours(chart(page)))
    width = chart(page).evaluate("canvas => canvas.clientWidth")
    chart(page).hover(position={"x": width - 14, "y": 40})
    # A tooltip is drawn, not written: what it says is tested in jsdom.
    until(lambda: len(set(colours(chart(page))) - plain) > 5, 5, "the chart has a tooltip")


def test_the_newest_hits_have_ones_own_and_those_before(node, open_page):
    page = open_page(node.url)
    counts(page, 1)
    newest = page.get_by_test_id("newest").get_by_role("listitem")
    expect(newest).to_have_count(1)
    expect(newest).to_contain_text(re.compile(r"through web-1\s*· yours"))
    page.get_by_role("button", name="Count again").click()
    expect(newest).to_have_count(2)
    expect(newest.first).to_contain_text("yours")


def test_a_counter_is_made_and_everything_to_use_it_can_be_copied(node, open_page):
    page = open_page(f"{node.url}/#/new", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_label("Namespace").fill("mine")
    page.get_by_label("Name", exact=True).fill("visits")
    page.get_by_label("Begin at").fill("41")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="mine/visits is made")).to_be_focused()

    def copied(what):
        page.get_by_role("button", name=f"Copy {what}").click()
        return page.evaluate("navigator.clipboard.readText()")

    admin = {"Authorization": f"Bearer {copied('Admin key')}"}
    assert node.get("/api/v1/counters", headers=admin).json()["items"][0]["value"] == 41
    snippet, markdown = copied("On a web page"), copied("Badge in Markdown")
    badge = page.get_by_role("img", name="Badge with the count of mine/visits")
    assert badge.evaluate("image => image.decode().then(() => image.naturalWidth)") > 20
    assert f"]({node.url}/badge/mine/visits.svg?" in markdown

    link = open_page(copied("Link to its page"))
    expect(link.get_by_role("heading", level=1)).to_have_text("mine/visits: hits so far")

    elsewhere = open_page(node.url.replace("127.0.0.1", "localhost") + "/livez")
    elsewhere.set_content(snippet)
    expect(elsewhere.locator("#hits")).to_have_text("42")

    page.get_by_role("link", name="See its page").click()
    counts(page, 42)


def test_the_form_says_what_is_wrong_before_and_after_sending(node, open_page):
    create(node, namespace="mine", key="taken")
    page = open_page(f"{node.url}/#/new")
    page.get_by_label("Namespace").fill("mine")
    page.get_by_label("Name", exact=True).fill("a b")
    page.get_by_role("button", name="Make it").click()
    key = page.get_by_label("Name", exact=True)
    expect(key).to_be_focused()
    expect(key).to_have_accessible_description(re.compile("3 to 64 letters"))
    key.fill("taken")
    key.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("There is a counter of this name already.")


def test_the_number_goes_down_only_when_the_counter_was_set(node, open_page):
    admin = create(node, namespace="mine", key="visits", value=90)
    page = open_page("about:blank")
    with page.expect_response("**/stream/mine/visits"):
        page.goto(f"{node.url}/#/c/mine/visits")
    counts(page, 90)
    url = f"{node.url}/api/v1/counters/mine/visits"
    requests.put(f"{url}/value", json={"value": 3}, headers=admin, timeout=30).raise_for_status()
    counts(page, 3, timeout=3_000)
    requests.delete(url, headers=admin, timeout=30).raise_for_status()
    has_status(page, "absent")
    page.get_by_role("button", name="Count a hit").click()
    counts(page, 1)


def test_the_badge_shows_the_count_as_it_goes_on(node, open_page):
    create(node, namespace="mine", key="visits", value=6)
    page = open_page(f"{node.url}/#/c/mine/visits")
    counts(page, 6)
    badge = page.get_by_test_id("badge")
    before = badge.screenshot()
    hit(node, "mine/visits")
    counts(page, 7)
    until(lambda: badge.screenshot() != before, 10, "the badge shows another number")


@pytest.mark.parametrize("path", ["/counter/blog", "/counter/default/blog"])
def test_the_address_of_a_counter_is_its_page(node, open_page, path):
    hit(node, "default/blog")
    page = open_page(node.url + path)
    counts(page, 1)
    expect(page.get_by_role("heading", level=1)).to_have_text("default/blog: hits so far")


def test_everything_works_from_an_origin_that_the_browser_does_not_trust(node, open_page):
    page = open_page(f"{node.url.replace('127.0.0.1', INSECURE_HOST)}/#/new")
    assert page.evaluate("isSecureContext") is False
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("button", name="Copy Admin key").click()
    expect(page.get_by_role("button", name="Copy Admin key")).to_have_text("Copied")
    page.get_by_role("link", name="See its page").click()
    counts(page, 0)
    page.get_by_role("button", name="Count a hit").click()
    counts(page, 1)


def test_language_and_theme_are_the_browsers_until_one_is_chosen(node, open_page):
    page = open_page(node.url, locale="es-MX", color_scheme="dark")
    expect(page.get_by_role("heading", level=1)).to_have_text("Cuente las visitas a cualquier cosa")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    background = "getComputedStyle(document.querySelector('.card')).backgroundColor"
    assert page.evaluate(background) == "rgb(20, 30, 28)"
    page.get_by_label("Idioma").select_option("en")
    page.get_by_label("Theme").select_option("light")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Count the visits to anything")
    assert page.evaluate(background) == "rgb(255, 255, 255)"


def test_the_keyboard_is_enough(node, open_page):
    page = open_page(node.url)
    counts(page, 1)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("textbox", name="Paste this into a README")).to_be_focused()
    page.get_by_test_id("hit-button").focus()
    page.keyboard.press("Enter")
    counts(page, 2)
    page.get_by_role("navigation").get_by_role("link", name="New").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Namespace")).to_be_focused()


def test_the_page_keeps_its_budget_as_it_is_served(node, open_page, built):
    page = open_page("about:blank")
    sent = []
    page.on("requestfinished", lambda request: sent.append(request))
    page.goto(node.url)
    expect(chart(page)).to_be_visible()
    files = [request for request in sent if FILES.search(request.url)]
    assert {FILES.search(request.url)[1] for request in files} == {"js", "css", "svg"}
    for request in files:
        assert request.response().headers["content-encoding"] == "br", request.url
    whole = sum(request.sizes()["responseBodySize"] for request in files)
    whole += next(
        request.sizes()["responseBodySize"] for request in sent if request.is_navigation_request()
    )
    # All that there is, so that none of it is left out by what a visit happens to load.
    there = sum(
        len(requests.get(f"{node.url}/{name}", headers=BROTLI, timeout=30, stream=True).raw.read())
        for name in names(built)
    )
    assert 0 < whole <= there + 1_000
    assert there <= BUDGET


FILES = re.compile(r"/(?:assets/.*|favicon)\.(js|css|svg)$")
BROTLI = {"Accept-Encoding": "br"}


def names(static):
    files = (path for path in static.rglob("*") if path.is_file())
    return [str(path.relative_to(static)) for path in files if path.suffix not in {".br", ".gz"}]


def test_nothing_comes_from_elsewhere(node, open_page):
    page = open_page("about:blank")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(node.url)
    counts(page, 1)
    expect(chart(page)).to_be_visible()
    assert {url.removeprefix(node.url)[:1] for url in asked} == {"/"}
