"""The page as an owner of counters uses it: their admin keys, and what these are for."""

import re

from playwright.sync_api import expect

from tests.support.browser import has_status
from tests.support.waiting import until


def test_counts_are_imported_and_exported(node, open_page, tmp_path):
    file = tmp_path / "counts.csv"
    file.write_text("namespace;key;value\nold;first;12\nold;second;-3\nold;a b;1\n")
    page = open_page(f"{node.url}/#/import")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_test_id("imported")).to_have_text("Imported: 2. Not taken: 1.")
    refused = page.get_by_role("list", name="Not taken").get_by_role("listitem")
    expect(refused).to_have_text(re.compile("^Line 4: old,a b,1 .*3 to 64"))
    page.get_by_role("link", name="See my counters").click()
    for form, content in (
        ("CSV", "namespace,key,value\r\nold,first,12\r\nold,second,-3\r\n"),
        ("JSON", None),
    ):
        page.get_by_label("Export as").select_option(form)
        with page.expect_download() as download:
            page.get_by_role("button", name="Export").click()
        assert download.value.suggested_filename == f"counters.{form.lower()}"
        text = download.value.path().read_bytes().decode()
        assert content is None or text == content
        assert len(re.findall("first|second", text)) == 2
    dismiss_the_key(page)


def dismiss_the_key(page):
    with page.expect_download() as download:
        page.get_by_role("button", name="Download it").click()
    page.get_by_role("button", name="I have it").click()
    expect(page.get_by_test_id("admin-key")).to_have_count(0)
    return download.value.path().read_text()


def test_a_wrong_admin_key_shows_nothing_of_others(node, open_page):
    plan = {"namespace": "mine", "key": "visits"}
    node.post("/api/v1/counters", json=plan).raise_for_status()
    page = open_page(f"{node.url}/#/mine")
    page.get_by_role("button", name="Show them").click()
    expect(page.get_by_label("Admin key", exact=True)).to_be_focused()
    page.get_by_label("Admin key", exact=True).fill("x" * 40)
    page.get_by_role("button", name="Show them").click()
    expect(page.get_by_text("No counter has this key.")).to_be_visible()
    expect(page.get_by_role("link", name="mine/visits")).to_have_count(0)


def test_a_counter_that_is_not_there_is_made_ones_own_and_kept_in_order(node, open_page):
    page = open_page(f"{node.url}/counter/mine/visits")
    has_status(page, "absent")
    page.get_by_role("link", name="Make this counter").click()
    page.get_by_role("button", name="Make it").click()
    page.get_by_label("Keep the key in this browser").check()
    page.get_by_role("button", name="I have it").click()
    page.reload()
    page.get_by_role("link", name="My counters").click()

    def act(action, **filled):
        page.get_by_role("button", name=f"{action} mine/visits", exact=True).click()
        for label, text in filled.items():
            page.get_by_label(label.replace("_", " ")).fill(text)
        page.get_by_role("button", name=action, exact=True).click()

    def value():
        answer = node.get("/api/v1/counters/mine/visits")
        return answer.json()["value"] if answer.ok else None

    act("Set", New_count="42")
    expect(page.get_by_test_id("owned").get_by_text("42", exact=True)).to_be_visible()
    assert value() == 42
    act("Reset")
    expect(page.get_by_test_id("owned").get_by_text("0", exact=True)).to_be_visible()
    assert value() == 0
    act("Delete")
    expect(page.get_by_text("No counter has this key.")).to_be_visible()
    assert value() is None


def test_a_new_key_is_lost_neither_by_a_click_nor_by_leaving(node, open_page):
    page = open_page(f"{node.url}/#/new")
    page.get_by_role("button", name="Make it").click()
    shown = page.get_by_test_id("admin-key")
    admin = shown.input_value()
    for link in ("Home", "Import", "My counters", "New"):
        page.get_by_role("navigation").get_by_role("link", name=link).click()
        expect(shown).to_have_value(admin)
    asked = []

    def stay(dialog):
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.evaluate("location.assign('/api/v1/requests')")
    until(lambda: asked, 10, "the browser asks before it leaves", wanted=["beforeunload"])
    expect(shown).to_have_value(admin)
    assert f"admin key: {admin}" in dismiss_the_key(page)
    page.goto(f"{node.url}/api/v1/requests")
    assert asked == ["beforeunload"]
