"""The page as a person uses it."""

import gzip
import re
import threading

import pytest
import requests
from playwright.sync_api import expect

from tests.support.browser import INSECURE_HOST, counts, has_status

SCRIPT_BUDGET = 150_000
"""Bytes of script, compressed, that the page may have altogether."""


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
    expect(page.get_by_role("img", name="Line chart: ", exact=False)).to_have_accessible_name(
        re.compile("to 46 since")
    )
    page.get_by_text("The numbers as a table").click()
    expect(page.get_by_role("row").nth(1).get_by_role("cell").last).to_have_text("46")


@pytest.mark.parametrize("resolution", ["Minute", "Hour", "Day"])
def test_the_charts_are_drawn(node, open_page, resolution):
    page = open_page(node.url)
    page.get_by_role("button", name=resolution).click()
    for kind in ("Bar", "Line"):
        chart = page.get_by_role("img", name=f"{kind} chart")
        expect(chart).to_be_visible()
        # Something other than nothing, and in more than the one colour of the axes.
        colours = chart.evaluate(
            """canvas => {
                const { data } = canvas.getContext('2d')
                    .getImageData(0, 0, canvas.width, canvas.height)
                const pixels = new Uint32Array(data.buffer)
                return new Set(pixels).size
            }"""
        )
        assert colours > 10


def test_a_counter_is_made_and_everything_to_use_it_can_be_copied(node, open_page):
    page = open_page(f"{node.url}/#/new", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_label("Namespace").fill("mine")
    page.get_by_label("Key", exact=True).fill("visits")
    page.get_by_label("Initial value").fill("41")
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

    elsewhere = open_page(node.url.replace("127.0.0.1", "localhost") + "/livez")
    elsewhere.set_content(snippet)
    expect(elsewhere.locator("#hits")).to_have_text("42")

    page.get_by_role("link", name="See its page").click()
    counts(page, 42)


def test_the_form_says_what_is_wrong_before_and_after_sending(node, open_page):
    create(node, namespace="mine", key="taken")
    page = open_page(f"{node.url}/#/new")
    page.get_by_label("Namespace").fill("mine")
    page.get_by_label("Key", exact=True).fill("a b")
    page.get_by_role("button", name="Make it").click()
    key = page.get_by_label("Key", exact=True)
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


def test_counts_are_imported_and_exported(node, open_page, tmp_path):
    file = tmp_path / "counts.csv"
    file.write_text("namespace,key,value\nold,first,12\nold,second,-3\nold,a b,1\n")
    page = open_page(f"{node.url}/#/move")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_test_id("imported")).to_have_text("Imported: 2. Refused: 1.")
    expect(page.get_by_role("listitem").filter(has_text="3 to 64")).to_be_visible()
    admin = page.get_by_test_id("import-admin-key").input_value()
    page.get_by_label("Admin key", exact=True).last.fill(admin)
    for form, content in (
        ("CSV", "namespace,key,value\r\nold,first,12\r\nold,second,-3\r\n"),
        ("JSON", None),
    ):
        page.get_by_label("Format").select_option(form)
        with page.expect_download() as download:
            page.get_by_role("button", name="Export").click()
        assert download.value.suggested_filename == f"counters.{form.lower()}"
        text = download.value.path().read_bytes().decode()
        assert content is None or text == content
        assert len(re.findall("first|second", text)) == 2


def test_a_wrong_admin_key_exports_nothing_of_others(node, open_page):
    create(node, namespace="mine", key="visits")
    page = open_page(f"{node.url}/#/move")
    page.get_by_role("button", name="Export").click()
    expect(page.get_by_label("Admin key", exact=True)).to_be_focused()
    page.get_by_label("Admin key", exact=True).fill("x" * 40)
    page.get_by_role("button", name="Export").click()
    expect(page.get_by_role("alert").last).to_have_text("This is not the right admin key.")


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
    expect(page.get_by_role("heading", level=1)).to_have_text("Visitas contadas hasta ahora")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    background = "getComputedStyle(document.querySelector('.card')).backgroundColor"
    assert page.evaluate(background) == "rgb(20, 30, 28)"
    page.get_by_label("Idioma").select_option("en")
    page.get_by_label("Theme").select_option("light")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Hits counted so far")
    assert page.evaluate(background) == "rgb(255, 255, 255)"


def test_the_keyboard_is_enough(node, open_page):
    page = open_page(node.url)
    counts(page, 1)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_test_id("hit-button")).to_be_focused()
    page.keyboard.press("Enter")
    counts(page, 2)
    page.get_by_role("link", name="Make a counter").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Namespace")).to_be_focused()


def test_the_script_keeps_its_budget(built):
    scripts = list(built.rglob("*.js"))
    size = sum(len(gzip.compress(file.read_bytes(), 6)) for file in scripts)
    assert 0 < size <= SCRIPT_BUDGET


def test_nothing_comes_from_elsewhere(node, open_page):
    page = open_page("about:blank")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(node.url)
    counts(page, 1)
    expect(page.get_by_role("img", name="Line chart")).to_be_visible()
    assert {url.removeprefix(node.url)[:1] for url in asked} == {"/"}
