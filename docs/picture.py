"""Make the README's picture of a report, its first screen, by the machine's own Chromium.

python docs/picture.py report docs/results/report.png
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1300, "height": 860}


def main(report: Path, out: Path) -> None:
    """Write the picture as a PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto((report / "index.html").resolve().as_uri())
        page.wait_for_selector("figure.chart[data-drawn]")
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    picture.quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
