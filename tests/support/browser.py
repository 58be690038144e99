"""Chromium for the tests of the page, with whatever goes wrong in it kept for the end."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.support.waiting import PATIENCE, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
AXE = ROOT / "app" / "frontend" / "node_modules" / "axe-core" / "axe.min.js"

INSECURE_HOST = "counter.test"
"""A name for this machine that the browser does not trust as it trusts 127.0.0.1."""

SETTINGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1",
]


@contextlib.contextmanager
def chromium(*settings: str) -> Iterator[Browser]:
    """Give a browser, with more settings of its command line; closed in the end.

    What is expected of it may take ``PATIENCE`` times 5 s.
    """
    expect.set_options(timeout=5_000 * PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=[*SETTINGS, *settings]
        )
        try:
            yield browser
        finally:
            browser.close()


def watched(browser: Browser, errors: list[str], **options: Any) -> BrowserContext:
    """Return a new context whose pages put their errors into ``errors``.

    A request that failed is none: the network may fail, and the page is to cope with that.
    """

    def take(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            errors.append(message.text)

    context = browser.new_context(**options)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", take)
    return context


def counts(page: Page, value: int, timeout: float = 10_000) -> None:
    """Wait until the page shows ``value``, and that for sure."""
    expect(page.get_by_test_id("count")).to_have_attribute(
        "data-value", str(value), timeout=timeout * PATIENCE
    )
    has_status(page, "live")


def hears_of_hits(page: Page, hit: Callable[[], object]) -> None:
    """Wait until the page lists a hit as it heard of it; each look makes one with ``hit``."""
    newest = page.get_by_test_id("newest")

    def look() -> dict[str, object]:
        hit()
        return {"listed": newest.is_visible(), "page": page.inner_text("body")}

    until(look, 20, "the page lists a hit", wanted=lambda seen: seen["listed"])


def has_status(page: Page, status: str, timeout: float = 15_000) -> None:
    """Wait until the page says that it is ``live``, ``reconnecting``, … ."""
    expect(page.get_by_test_id("status")).to_have_attribute(
        "data-status", status, timeout=timeout * PATIENCE
    )
