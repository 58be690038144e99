"""What the service's own page keeps out, in a real browser, also where it trusts nothing."""

import base64

import pytest

from tests.support.browser import INSECURE_HOST

PAGE = """<!doctype html><title>counterapp</title>
<script type="module" src="/assets/app.js"></script>"""

APP = """
import { more } from "./more.js"
document.title = more
"""


@pytest.fixture
def node(single, make_node, static):
    """A node whose page has a script that loads another, as a built front end has."""
    (static / "assets").mkdir()
    (static / "index.html").write_text(PAGE)
    (static / "assets" / "app.js").write_text(APP)
    (static / "assets" / "more.js").write_text('export const more = "its own scripts run"')
    return make_node(single).start()


@pytest.fixture(params=["127.0.0.1", INSECURE_HOST])
def page(request, browser, node):
    """The page, at a host that the browser trusts and at one that it does not."""
    page = browser.new_page()
    page.goto(f"http://{request.param}:{node.port}/")
    page.wait_for_function("document.title === 'its own scripts run'")
    yield page
    page.close()


SMUGGLE = """(changes) => new Promise((resolve) => {
    window.show = () => resolve("it ran");
    document.addEventListener("securitypolicyviolation", (e) => resolve(e.violatedDirective));
    const script = Object.assign(document.createElement("script"), changes);
    script.onerror = () => setTimeout(() => resolve("refused"), 100);
    document.head.append(script);
})"""


@pytest.mark.parametrize("changes", [{}, {"referrerPolicy": "no-referrer"}, {"nonce": "guessed"}])
def test_no_answer_with_a_callback_runs_in_our_own_page(page, node, changes):
    said = page.evaluate(SMUGGLE, {"src": "/hit/page?callback=show", **changes})
    assert said == "script-src-elem"
    assert node.get("/get/page").status_code == 404


def test_where_a_policy_is_missing_our_own_page_gets_no_script_either(page, node):
    """As the policy is the first of two guards, the second is asked by what it answers."""
    answer = page.evaluate("async () => (await fetch('/hit/page?callback=show')).text()")
    assert "pages of other sites" in answer
    assert node.get("/get/page").status_code == 404


def test_a_remembered_password_acts_for_no_page_of_another_site(browser, node):
    key = node.get("/create/site/page?value=42").json()["admin_key"]
    password = base64.b64encode(f":{key}".encode()).decode()
    # What a browser does by itself once it was challenged; nothing here challenges it.
    context = browser.new_context(extra_http_headers={"Authorization": f"Basic {password}"})
    try:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{node.port}/livez")
        url = f"http://{INSECURE_HOST}:{node.port}/reset/site/page?img"
        with page.expect_response(url) as answered:
            page.evaluate("(url) => { new Image().src = url }", url)
        answer = answered.value
        sent = answer.request.all_headers()
        assert sent["authorization"] == f"Basic {password}"
        assert "sec-fetch-site" not in sent
        assert answer.status == 403
        assert node.get("/get/site/page").json() == {"value": 42}
    finally:
        context.close()


def test_programs_go_on_with_passwords(node):
    key = node.get("/create/site/page?value=42").json()["admin_key"]
    browser = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
    refused = node.get("/reset/site/page", auth=("", key), headers=browser)
    assert refused.status_code == 403
    assert node.get("/reset/site/page", auth=("", key)).json() == {"old_value": 42, "value": 0}
