"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a browser that itself sends no requests. Skip the test if the package chromium is not installed."""
    if CHROMIUM is None:
        pytest.skip("needs Debian's package chromium, which is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        quiet = ("background-networking", "component-update", "sync", "gpu")
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in quiet)]
        )
        yield started
        started.close()


@contextmanager
def watched_pages(browser: Any, ready: str) -> Iterator[Callable[..., Any]]:
    """Yield a function that opens an address at a width, in a colour scheme, and waits until `ready` is true in it.

    An error or warning on a page's console, and a request to a server or one that fails, fails the test.
    """
    wrong, pages = list[str](), list[Any]()

    def open_page(address: str, width: int = 1300, scheme: str = "light", height: int = 900) -> Any:
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else wrong.append(r.url))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.goto(address)
        page.wait_for_function(ready)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert wrong == []
