"""Make the README's picture of a report: its claims, a figure and the page of features, by the machine's own Chromium.

python docs/picture.py report docs/results/report.png
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

WIDTH, HEIGHT = 1640, 860
LEFT = 920  # width of the claims' part


def screenshot(page: Page, file: Path, *, width: int, height: int) -> Image.Image:
    """Return what a window of this size shows of an HTML file."""
    page.set_viewport_size({"width": width, "height": height})
    page.goto(file.resolve().as_uri())
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def main(report: Path, out: Path) -> None:
    """Write the picture as a PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        claims = screenshot(page, report / "index.html", width=1200, height=1200 * HEIGHT // LEFT).resize(
            (LEFT, HEIGHT)
        )
        features = screenshot(page, report / "features.html", width=2 * (WIDTH - LEFT), height=HEIGHT)
        browser.close()
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    picture.paste(claims, (0, 0))
    figure = Image.open(report / "figures/pareto_explained_variance.png").convert("RGB")
    figure.thumbnail((WIDTH - LEFT - 20, HEIGHT // 2))
    picture.paste(figure, (LEFT + 10, 10))
    features.thumbnail((WIDTH - LEFT - 20, HEIGHT - figure.height - 30))
    picture.paste(features, (LEFT + 10, figure.height + 20))
    picture.quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
