"""Every view of the page, in light and dark, both languages, on phone and desktop.

With ``PAGE_SHOTS`` set to a folder, each is also photographed into it, to be looked at.
"""

import os
import pathlib

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import AXE, has_status, hears_of_hits

SIZES = {"phone": {"width": 360, "height": 740}, "desktop": {"width": 1280, "height": 800}}
NARROWEST = 320
"""CSS pixels: the smallest phones, and a desktop at 400 % (WCAG 1.4.10)."""

ADMIN = "a" * 32

CSV = "namespace,key,value\nold,first,12\nold,a b,1\n"


def home(page, url):
    page.goto(f"{url}/#/")
    has_status(page, "live")
    hears_of_hits(page, page.get_by_test_id("hit-button").click)
    expect(page.locator("canvas")).to_have_count(1)


def counter(page, url):
    page.goto(f"{url}/#/c/mine/visits")
    has_status(page, "live")
    expect(page.locator("canvas")).to_have_count(1)
    page.locator("summary").click()


def nothing(page, url):
    page.goto(f"{url}/#/c/mine/nothing")
    has_status(page, "absent")


def form(page, url):
    page.goto(f"{url}/#/new")
    page.locator("summary").click()


def misfilled(page, url):
    form(page, url)
    for field in page.locator("form .fields input").all()[:-1]:
        field.fill("?")
    page.locator("form > button").click()
    expect(page.locator("[aria-invalid]").first).to_be_focused()


def made(page, url):
    form(page, url)
    page.locator("form > button").click()
    expect(page.get_by_test_id("admin-key")).to_be_visible()
    page.locator(".key .second").last.click()
    expect(page.locator(".confirm")).to_be_visible()


def mine(page, url):
    page.goto(f"{url}/#/mine")
    page.locator("form input").first.fill(ADMIN)
    page.locator("form button").first.click()
    expect(page.get_by_test_id("owned").get_by_role("listitem")).to_have_count(1)
    page.get_by_test_id("owned").locator(".small").first.click()
    expect(page.locator(".confirm input")).to_be_focused()
    page.locator(".confirm input").fill("1e3")
    page.locator(".confirm .danger").click()
    expect(page.locator(".confirm [aria-invalid]")).to_be_focused()


def bring(page, url):
    page.goto(f"{url}/#/import")
    page.locator("form textarea").fill(CSV)
    page.locator("form button[type=submit]").click()
    expect(page.get_by_test_id("admin-key")).to_be_visible()


def lost(page, url):
    page.goto(f"{url}/#/nowhere")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def reconnecting(page, url):
    page.goto(f"{url}/#/")
    has_status(page, "live")
    page.context.set_offline(True)
    has_status(page, "reconnecting")


VIEWS = [home, counter, nothing, form, misfilled, made, mine, bring, lost, reconnecting]


def check_accessible(page: Page, what: str) -> None:
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    told = [
        f"{what}: {each['id']}: {each['help']}: {node['html']} {node['failureSummary']}"
        for each in found
        for node in each["nodes"]
    ]
    assert told == []


def check_fits(page: Page, what: str) -> None:
    """No view is wider than its window, so that nobody must scroll sideways to read."""
    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wider <= 0, f"{what} is {wider} px too wide"


def check_navigation(page: Page, what: str) -> None:
    """All links of the navigation stand in one row."""
    tops = page.locator("nav a").evaluate_all(
        "links => links.map((link) => Math.round(link.getBoundingClientRect().top))"
    )
    assert len(tops) == 4, what
    assert len(set(tops)) == 1, f"{what}: {tops}"
    right = page.locator("nav a").last.evaluate("link => link.getBoundingClientRect().right")
    end = page.locator("header").evaluate("header => header.getBoundingClientRect().right")
    assert right <= end, f"{what}: the navigation ends at {right}, its window's content at {end}"


def photograph(page: Page, what: str) -> None:
    if folder := os.environ.get("PAGE_SHOTS"):
        page.screenshot(path=pathlib.Path(folder, f"{what}.png"), full_page=True)


@pytest.fixture
def some_counts(node):
    """A node with something to show."""
    plan = {"namespace": "mine", "key": "visits", "value": 1234567}
    own = {"Authorization": f"Bearer {ADMIN}"}
    node.post("/api/v1/counters", json=plan, headers=own).raise_for_status()
    return node


# Each two of these together once: what fits goes by language and size, what contrasts by the look.
@pytest.mark.parametrize(
    ("look", "language", "size"),
    [
        ("light", "en", "desktop"),
        ("light", "es", "phone"),
        ("dark", "en", "phone"),
        ("dark", "es", "desktop"),
    ],
)
def test_all_views_are_accessible_and_fit(some_counts, open_page, size, language, look):
    page = open_page(some_counts.url, locale=language, color_scheme=look, viewport=SIZES[size])
    for view in VIEWS:
        # A load of its own each, as of somebody who comes from elsewhere.
        page.goto("about:blank")
        view(page, some_counts.url)
        what = f"{view.__name__}-{language}-{look}-{size}"
        photograph(page, what)
        check_accessible(page, what)
        check_fits(page, what)
        check_navigation(page, what)


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize(
    "view", [home, counter, misfilled, made, mine, bring], ids=lambda view: view.__name__
)
def test_the_narrowest_window_is_wide_enough(some_counts, open_page, view, language):
    size = {"width": NARROWEST, "height": 640}
    page = open_page(some_counts.url, viewport=size, locale=language)
    view(page, some_counts.url)
    check_fits(page, view.__name__)
    check_navigation(page, view.__name__)
