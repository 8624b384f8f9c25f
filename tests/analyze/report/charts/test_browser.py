"""Charts in a real browser, offline: they are drawn, follow menus, legend and colour scheme, and tell their values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analyze.report.charts import charts, javascript_bundle
from analyze.report.html import PACKAGE
from analyze.web.document import FRAME, resource
from tests.analyze.report.charts.made_up import tables, training
from tests.helpers.pages.browser import watched_pages

pytestmark = pytest.mark.browser

ARCHITECTURES = ("baseline", "nsae", "topk", "jumprelu")
N_LAYERS = 3
DRAWN = "[...document.querySelectorAll('figure.chart')].every((figure) => 'drawn' in figure.dataset)"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of all charts, with a chart in a closed <details>."""
    frame = resource(FRAME, "base.css")
    style, charts_style, script = (resource(PACKAGE, name) for name in ("style.css", "charts.css", "charts.js"))
    dark = (
        "@media (prefers-color-scheme: dark) { :root { --ink: #eee; --soft: #aaa; --line: #444; --paper: #161616; } }"
    )
    figures = [
        f'<figure class="chart" id="{chart.name}"><script type="application/json">{chart.to_json()}</script></figure>'
        for chart in charts(*tables(N_LAYERS, ARCHITECTURES), ARCHITECTURES, training(N_LAYERS, ARCHITECTURES))
    ]
    figures[-1] = f"<details><summary>Training</summary>{figures[-1]}</details>"
    path = tmp_path_factory.mktemp("charts") / "page.html"
    path.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{frame}{style}{dark}{charts_style}</style><body>{''.join(figures)}"
        f"<script>{javascript_bundle()}</script><script>{script}</script></body></html>",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Any]:
    """Open the page at a width."""
    with watched_pages(browser, DRAWN) as open_page:
        yield lambda width=1300, scheme="light": open_page(page_file.as_uri(), width, scheme)


def hovered(page: Any, point: Any) -> dict[str, str]:
    """Return the text shown at a point, by its heading."""
    point.hover(force=True)
    box = page.locator("#vg-tooltip-element.visible")
    box.wait_for()
    keys, values = (box.locator(f"td.{name}").all_inner_texts() for name in ("key", "value"))
    return dict(zip(keys, values, strict=True))


def test_hover_tells_the_values_of_the_tables_in_the_chosen_measure_and_layer(opened: Any) -> None:
    page = opened()
    chart, (points, means) = page.locator("#pareto"), tables(N_LAYERS, ARCHITECTURES)
    run = "baseline_target_l0=80"
    for measure, layer in (("kl", "mean"), ("explained_variance", "mean"), ("explained_variance", "2")):
        chart.locator("select[name=measure]").select_option(measure)
        chart.locator("select[name=layer]").select_option(layer)
        rows = means if layer == "mean" else [row for row in points if row.hook.split(".")[1] == layer]
        row = next(row for row in rows if (row.run, row.measure) == (run, measure))
        point = chart.locator("path[aria-roledescription=point]").filter(visible=True).nth(2)
        page.wait_for_timeout(50)
        shown = hovered(page, point)
        assert (shown["run"], shown["layer"], shown["seeds"]) == (run, layer, "3")
        assert float(shown["L0"]) == pytest.approx(row.l0, rel=1e-3)
        assert float(shown["value"]) == pytest.approx(row.value, rel=1e-3)
        low, high = map(float, shown["95 % interval"].split(" to "))
        assert (low, high) == pytest.approx((row.low, row.high), rel=0.01)
        page.mouse.move(0, 0)


def test_menu_of_a_grid_changes_the_measure_of_all_panels(opened: Any) -> None:
    page = opened()
    grid = page.locator("#layers")
    assert grid.locator("svg.marks").count() == N_LAYERS
    assert grid.get_by_text("KL (nats per token), lower is better", exact=True).count() == N_LAYERS
    grid.locator("select[name=measure]").select_option("gamma")
    assert grid.get_by_text("γ, best near 1", exact=True).count() == N_LAYERS
    labels = [
        panel.locator(".role-axis-label text").all_inner_texts() for panel in grid.locator("svg.marks").all()
    ]  # fmt: skip
    assert all(texts == labels[0] and len(texts) > 4 for texts in labels)


def test_click_on_a_legend_entry_fades_the_other_architectures_in_all_panels(opened: Any) -> None:
    page = opened()
    grid = page.locator("#layers")
    entry = grid.locator(".legend button", has_text="jumprelu")
    entry.click()
    opacities = grid.locator("path[aria-roledescription='line mark']").evaluate_all(
        "(lines) => lines.map((line) => line.getAttribute('stroke-opacity') ?? line.getAttribute('opacity'))"
    )
    assert (len(opacities), opacities.count("0.12")) == (N_LAYERS * 4, N_LAYERS * 3)
    assert entry.get_attribute("aria-pressed") == "true"
    entry.click()
    assert entry.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_fit_a_phone_and_have_the_pages_colours(opened: Any, scheme: str) -> None:
    page = opened(390, scheme)
    page.locator("summary").click()
    page.wait_for_function("document.querySelector('#training svg.marks').getBoundingClientRect().width > 300")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    beyond = page.evaluate("""
      [...document.querySelectorAll("svg.marks text, .chart select, .chart button")].filter((part) => {
        const box = part.getBoundingClientRect();
        return box.right > innerWidth || box.left < 0;
      }).length""")
    assert beyond == 0
    ink, title = page.evaluate("""
      [getComputedStyle(document.body).color,
       getComputedStyle(document.querySelector("#pareto .role-title-text text")).fill]""")
    assert ink == title


def test_menus_have_labels_and_noise_changes_only_architectures_with_noise(opened: Any) -> None:
    page = opened()
    chart = page.locator("#pareto")
    assert chart.locator("label").all_inner_texts()[0].startswith("measure")
    lines = chart.locator("path[aria-roledescription='line mark']")
    before = lines.evaluate_all("(lines) => lines.map((line) => line.getAttribute('d'))")
    chart.get_by_label(re.compile("^noise")).select_option("on")
    after = lines.evaluate_all("(lines) => lines.map((line) => line.getAttribute('d'))")
    assert len(set(before) & set(after)) == len(ARCHITECTURES) - 1
