"""Five tasks of a reader on a page of features, in a real browser: the actions that each takes, and the page's time.

    python benchmarks/analyze/features_tasks.py FOLDER --token " girl" [--out FILE]

FOLDER is that of `analyze features --text`, of runs of two seeds. The time is the page's, from the first action to the
answer; a reader also has to find the menus and to read.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.shared.measure import report

Action = Callable[[Any], None]
FIRST = "#rows a"


def opened(page: Any) -> str:
    """Wait for a feature's details; return its heading and the tokens that it fires on most."""
    page.wait_for_selector(".examples")
    tokens = page.locator("#detail h3:text-is('Fires on') + table code").all_inner_texts()[:3]
    return f"{page.locator('#detail h2').inner_text().strip()}: {', '.join(map(repr, tokens))}"


def listed(page: Any) -> str:
    """Return the first row of the list."""
    return f"feature {page.locator('#rows td').first.inner_text().split()[0]}"


def tasks(token: str) -> dict[str, tuple[list[Action], Callable[[Any], str]]]:
    """Return each task's actions, and how its answer is read from the page."""
    return {
        "the feature for a token": (
            [lambda page: page.fill("#search", f'"{token}"'), lambda page: page.locator(FIRST).first.click()], opened,
        ),
        "the densest live feature of a layer": (
            [
                lambda page: page.select_option("#layer", index=1),
                lambda page: page.select_option("#order", "density descending"),
                lambda page: page.locator(FIRST).first.click(),
            ], opened,
        ),
        "a dead feature": ([lambda page: page.select_option("#kind", "dead")], listed),
        "a pair across seeds": (
            [
                lambda page: page.select_option("#order", "cosine descending"),
                lambda page: page.locator("#rows tr").first.locator("a").last.click(),
            ], opened,
        ),
        "what fires on a word of a sentence": (
            [
                lambda page: page.locator(".tokens button").nth(3).click(),
                lambda page: page.locator("#text p a").first.click(),
            ], opened,
        ),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--token", default=" girl")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for task, (actions, answer) in tasks(options.token).items():
            page = browser.new_page(viewport={"width": 1300, "height": 860})
            page.goto((options.folder / "features.html").resolve().as_uri())
            page.wait_for_selector(FIRST)
            began = time.perf_counter()
            for action in actions:
                action(page)
            found = answer(page)
            seconds = time.perf_counter() - began
            rows.append({"task": task, "actions": len(actions), "seconds": seconds, "found": found})
            page.close()
        browser.close()
    size = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file())
    report({"benchmark": "features_tasks", "token": options.token, "bytes": size}, rows, options.out)


if __name__ == "__main__":
    main()
