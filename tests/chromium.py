"""Debian's Chromium, driven by Playwright; tests that need it skip with the reason without it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def open_chromium() -> Iterator[Browser]:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed: no browser to show the page in")
    with sync_playwright() as playwright:
        # A container has no user namespaces for its sandbox; the pages are our own.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def watched(browser: Browser, **options: object) -> Iterator[Page]:
    """A page in a profile of its own, of which anything said or asked for is a failure."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url)
            if not request.url.startswith(("file:", "blob:", "data:", "http://127.0.0.1:"))
            else None)  # fmt: skip
    yield page
    context.close()
    assert not complaints
