"""The built page, in Chromium, from a real node and database."""

import pytest

from tests.support.browser import watched
from tests.support.loading import load

build_release = load("app/build_release.py")

KEEP_WHAT_IS_SHOWN = """
    window.shownNumbers = []
    new MutationObserver(() => {
        const value = document.querySelector('[data-testid=count]')?.dataset.value
        if (value !== undefined) window.shownNumbers.push(Number(value))
    }).observe(document, { subtree: true, childList: true, attributes: true })
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The front end, built as a release has it."""
    folder = tmp_path_factory.mktemp("page") / "static"
    with build_release.one_at_a_time():
        build_release.build_frontend(folder)
    return folder


@pytest.fixture
def static(built):
    return built


@pytest.fixture
def node(make_node, single):
    return make_node(single).start()


@pytest.fixture
def open_page(browser):
    """Return a function that opens a page; nothing may have gone wrong in it by the end."""
    errors, contexts = [], []

    def open_(url, **options):
        contexts.append(watched(browser, errors, **{"locale": "en-GB", **options}))
        contexts[-1].add_init_script(KEEP_WHAT_IS_SHOWN)
        page = contexts[-1].new_page()
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []
