"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
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
