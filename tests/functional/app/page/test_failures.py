"""The page while the service, or a part of it, is away."""

from playwright.sync_api import expect

from tests.support.browser import counts, has_status, hears_of_hits


def hit(node):
    node.post("/api/v1/counters/default/shared/hits").raise_for_status()


def test_a_failover_is_told_and_survived_without_a_wrong_number(make_node, rs, open_page):
    node = make_node(rs).start()
    page = open_page(node.url)
    counts(page, 1)
    for member in rs.members[:2]:
        member.kill()
    has_status(page, "reconnecting")
    expect(page.get_by_text("The last number we know of")).to_be_visible()
    expect(page.get_by_test_id("count")).to_have_attribute("data-value", "1")
    page.get_by_test_id("hit-button").click()
    expect(page.get_by_test_id("hit-button")).to_have_text("Counting…")
    rs.heal()
    counts(page, 2, timeout=60_000)
    assert node.get("/api/v1/requests").json()["total"] == 2
    numbers = page.evaluate("window.shownNumbers")
    assert numbers == sorted(numbers)


def test_the_page_comes_back_with_its_node(node, open_page):
    page = open_page(node.url)
    counts(page, 1)
    node.kill()
    has_status(page, "reconnecting")
    node.start()
    has_status(page, "live")
    # Reads know nothing of single hits: the stream is back as well.
    hears_of_hits(page, lambda: hit(node))
