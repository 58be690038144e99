"""The page, as a person sees it: in Chromium, through the VIP."""

import re

import pytest
from playwright.sync_api import Page, expect

from lab import edge, engine
from tests.support.browser import chromium, watched
from tests.support.certificates import key_hash, shown


@pytest.fixture
def page(cluster):
    engine.check_route(cluster.lab, cluster.lab.vip)
    errors = []
    # It trusts nobody but the holder of this key; that our authority has signed it was seen before.
    key = key_hash(shown((cluster.lab.vip, 443), edge.context(cluster.lab)))
    with chromium(f"--ignore-certificate-errors-spki-list={key}") as browser:
        page = watched(browser, errors).new_page()
        page.goto(f"{cluster.url}/")
        # The number begins to be the test's own once this visit is in it.
        expect(page.get_by_text("Your visit is one of them")).to_be_visible(timeout=15_000)
        yield page
    assert errors == []


def count(page: Page) -> int:
    """Return the number on the page, once there is one."""
    shown = page.get_by_test_id("count")
    expect(shown).to_have_attribute("data-value", re.compile(r"^\d+$"))
    return int(shown.get_attribute("data-value") or "")


def test_a_visit_counts_and_names_the_server_and_the_release(cluster, page):
    first = count(page)
    page.reload()
    expect(page.get_by_text("Your visit is one of them")).to_be_visible(timeout=15_000)
    assert count(page) == first + 1
    assert cluster.count("default/shared") == first + 1
    assert page.get_by_test_id("served-by").inner_text() in cluster.with_role("web")
    current = cluster.salt("roles:web", "counterapp.current", kind="grain")
    assert page.get_by_test_id("release").inner_text() in current.values()


def test_the_button_makes_the_count_go_up(page):
    before = count(page)
    page.get_by_test_id("hit-button").click()
    expect(page.get_by_test_id("count")).to_have_attribute("data-value", str(before + 1))


def test_hits_of_others_show_up(cluster, page):
    before = count(page)
    cluster.hit("default/shared").raise_for_status()
    expect(page.get_by_test_id("count")).to_have_attribute(
        "data-value", str(before + 1), timeout=15_000
    )
