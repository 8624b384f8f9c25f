"""Make the pictures of a report's first screen and of the page of features, by the machine's own Chromium.

python docs/picture.py report docs/results/report.png
python docs/picture.py features docs/results/features.png
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH = 1300
TOKEN = '" girl"'  # searched for on the page of features


def open_report(page: Any) -> None:
    """Wait for the report's chart."""
    page.wait_for_selector("figure.chart[data-drawn]")


def open_feature(page: Any) -> None:
    """Search for a token and open the first feature."""
    page.fill("#search", TOKEN)
    page.locator("#rows a").first.click()
    page.wait_for_selector(".examples")
    page.evaluate("scrollTo(0, 0)")


PAGES = {"index.html": (860, open_report), "features.html": (1300, open_feature)}  # height, what is opened


def main(folder: Path, out: Path) -> None:
    """Write the picture as a PNG."""
    name = next(name for name in PAGES if (folder / name).exists())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        height, open_page = PAGES[name]
        page = browser.new_page(viewport={"width": WIDTH, "height": height})
        page.goto((folder / name).resolve().as_uri())
        open_page(page)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    picture.quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
