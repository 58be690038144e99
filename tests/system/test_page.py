"""The page, as a person sees it: in Chromium, through the VIP."""

import re

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from lab import engine


@pytest.fixture
def page(cluster):
    engine.check_route(cluster.lab, cluster.lab.vip)
    errors = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{cluster.url}/")
        yield page
        browser.close()
    assert errors == []


def count(page: Page) -> int:
    """Return the number on the page, once there is one."""
    shown = page.get_by_test_id("count")
    expect(shown).to_have_attribute("data-value", re.compile(r"^\d+$"))
    return int(shown.get_attribute("data-value") or "")


def test_a_visit_counts_and_names_the_server_and_the_release(cluster, page):
    first = count(page)
    page.reload()
    assert count(page) == first + 1
    assert cluster.count("shared") == first + 1
    assert page.get_by_test_id("served-by").inner_text() in cluster.with_role("web")
    current = cluster.salt("roles:web", "--grain", "counterapp.current")
    assert page.get_by_test_id("release").inner_text() in current.values()


def test_the_button_makes_the_count_go_up(page):
    before = count(page)
    page.get_by_test_id("hit-button").click()
    expect(page.get_by_test_id("count")).to_have_attribute("data-value", str(before + 1))


def test_hits_of_others_show_up(cluster, page):
    before = count(page)
    cluster.hit("shared").raise_for_status()
    expect(page.get_by_test_id("count")).to_have_attribute(
        "data-value", str(before + 1), timeout=15_000
    )
