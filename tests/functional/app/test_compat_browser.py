"""A page of another origin counts in a real browser: by fetch, by script, by image, by events."""

import http.server
import threading

import pytest

PAGE = b"<!doctype html><meta charset=utf-8><title>a shop</title><p id=visits>0</p>"


class Shop(http.server.BaseHTTPRequestHandler):
    """Serves the page, and nothing else, at any path."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Referrer-Policy", "no-referrer-when-downgrade")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def shop():
    """The origin of a site that counts its visits elsewhere."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def node(single, make_node):
    return make_node(single).start()


@pytest.fixture
def page(browser, shop):
    page = browser.new_page()
    page.goto(f"{shop}/blog/first")
    yield page
    page.close()


def test_fetch_may_read_the_answer_and_its_headers(page, node):
    answer = page.evaluate(
        """async (url) => {
            const answer = await fetch(url, { headers: { "Idempotency-Key": "one" } });
            return [(await answer.json()).value, answer.headers.get("X-Path")];
        }""",
        f"{node.url}/hit/:HOST:/:PATHNAME:",
    )
    assert answer == [1, "127.0.0.1/blog-first-" + answer[1][-12:]]


def test_a_script_calls_back(page, node):
    counted = page.evaluate(LOAD, f"{node.url}/hit/page?callback=show")
    assert counted == {"status": 200, "value": 1}
    missing = page.evaluate(LOAD, f"{node.url}/get/nobody?callback=show")
    assert (missing["status"], missing["value"]) == (404, None)


LOAD = """(url) => new Promise((resolve) => {
    window.show = resolve;
    const script = document.createElement("script");
    script.onerror = () => resolve("refused");
    script.onload = () => setTimeout(() => resolve("loaded and silent"), 0);
    script.src = url;
    document.head.append(script);
})"""


@pytest.mark.parametrize("query", ["callback=show(1)//", "callback=delete", "callback=", ""])
def test_what_is_no_jsonp_runs_in_no_page(page, node, query):
    assert page.evaluate(LOAD, f"{node.url}/hit/page?{query}") == "refused"


def test_an_image_counts(page, node):
    size = page.evaluate(
        """(url) => new Promise((resolve, reject) => {
            const image = new Image();
            image.onload = () => resolve([image.naturalWidth, image.naturalHeight]);
            image.onerror = reject;
            image.src = url;
        })""",
        f"{node.url}/hit/page?img",
    )
    assert size == [1, 1]
    assert node.get("/get/page").json() == {"value": 1}


STYLES = ["flat", "flat-square", "plastic", "for-the-badge", "social", "nonsense"]


@pytest.mark.parametrize(
    "path",
    [
        *(f"/badge/page.svg?label=Besuche&style={style}" for style in STYLES),
        "/get/default/page/shield?text=Besuche",
        "/get/default/page/shield?text=Besuche&style=plastic&font=arial-bold-italic&fontsize=40",
        "/get/default/page/shield?text=Besuche&style=flat-square&font=courier-new&fontsize=4",
    ],
)
def test_a_badge_is_an_image_that_fits_its_text(page, node, path):
    node.get("/create/page?value=9007199254740991")
    page.goto(f"{node.url}{path}")
    texts = page.evaluate(
        """() => {
            const all = document.documentElement.getBoundingClientRect();
            return [...document.querySelectorAll("text")].map((text) => {
                const box = text.getBoundingClientRect();
                return [text.textContent, box.left >= all.left && box.right <= all.right,
                        box.top >= all.top - 1 && box.bottom <= all.bottom + 1];
            });
        }"""
    )
    assert {text.lower() for text, *_ in texts} == {"besuche", "9007199254740991"}
    assert all(wide and high for _, wide, high in texts), texts


def test_a_badge_that_counts_does_so_on_each_view(page, node):
    """As often as the page is opened, whatever the browser has kept of it."""
    shown = """async (url) => {
        const image = new Image();
        image.src = url;
        await image.decode();
        return image.naturalWidth;
    }"""
    for _ in range(3):
        page.reload()
        assert page.evaluate(shown, f"{node.url}/badge/page.svg?hit=1") > 20
    assert node.get("/get/page").json() == {"value": 3}


def test_events_arrive_even_of_a_counter_that_is_not_there_yet(page, node):
    page.evaluate(
        """(url) => {
            window.said = [];
            window.events = new EventSource(url);
            window.events.onmessage = (event) => window.said.push(JSON.parse(event.data).value);
        }""",
        f"{node.url}/stream/page",
    )
    page.wait_for_function("window.events.readyState === EventSource.OPEN")
    node.get("/hit/page")
    page.wait_for_function("window.said.at(-1) === 1")
    node.get("/hit/page")
    page.wait_for_function("window.said.at(-1) === 2")
