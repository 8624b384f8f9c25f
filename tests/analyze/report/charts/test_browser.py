"""Charts in a real browser, offline: they are drawn, follow menus, legend and colour scheme, and tell their values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analyze.report.charts import charts, javascript_bundle
from analyze.report.html import CHART_SCRIPTS, PACKAGE
from analyze.web.document import FRAME, resource
from tests.analyze.report.charts.made_up import tables, training
from tests.helpers.pages.browser import watched_pages

pytestmark = pytest.mark.browser

ARCHITECTURES = ("baseline", "nsae", "topk", "jumprelu")
CONTROLS = ("frozen",)
N_LAYERS = 3
DRAWN = "[...document.querySelectorAll('figure.chart')].every((figure) => 'drawn' in figure.dataset)"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of all charts, with a chart in a closed <details>."""
    frame = resource(FRAME, "base.css")
    style, charts_style = (resource(PACKAGE, name) for name in ("style.css", "charts.css"))
    scripts = [javascript_bundle(), *(resource(PACKAGE, name) for name in CHART_SCRIPTS)]
    dark = (
        "@media (prefers-color-scheme: dark) { :root { --ink: #eee; --soft: #aaa; --line: #444; --paper: #161616; } }"
    )
    figures = [
        f'<figure class="chart" id="{chart.name}"><script type="application/json">{chart.to_json()}</script></figure>'
        for chart in charts(
            *tables(N_LAYERS, (*ARCHITECTURES, *CONTROLS), worst=50.0),
            (*ARCHITECTURES, *CONTROLS),
            training(N_LAYERS, ARCHITECTURES),
            controls=CONTROLS,
        )
    ]
    figures[-1] = f"<details><summary>Training</summary>{figures[-1]}</details>"
    path = tmp_path_factory.mktemp("charts") / "page.html"
    path.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{frame}{style}{dark}{charts_style}</style><body>{''.join(figures)}"
        f"{''.join(f'<script>{script}</script>' for script in scripts)}</body></html>",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Any]:
    """Open the page at a width."""
    with watched_pages(browser, DRAWN) as open_page:
        yield lambda width=1300, scheme="light": open_page(page_file.as_uri(), width, scheme)


def shown_text(page: Any) -> dict[str, str]:
    """Return the text that is shown of a mark, by its headings."""
    cells = page.locator(".tip:visible td").all_inner_texts()
    return dict(zip(cells[::2], cells[1::2], strict=True))


def middle(part: Any) -> tuple[float, float]:
    """Return the place on the screen of the middle of an element."""
    box = part.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def points_of(chart: Any) -> Any:
    return chart.locator("path[aria-roledescription=point]").filter(visible=True)


def test_hover_tells_the_values_of_the_tables_in_the_chosen_measure_and_layer(opened: Any) -> None:
    page = opened()
    chart, (points, means) = page.locator("#pareto"), tables(N_LAYERS, ARCHITECTURES)
    run = "baseline_target_l0=80"
    for measure, layer in (("kl", "mean"), ("explained_variance", "mean"), ("explained_variance", "2")):
        chart.locator("select[name=measure]").select_option(measure)
        chart.locator("select[name=layer]").select_option(layer)
        rows = means if layer == "mean" else [row for row in points if row.hook.split(".")[1] == layer]
        row = next(row for row in rows if (row.run, row.measure) == (run, measure))
        page.wait_for_timeout(50)
        page.mouse.move(*middle(points_of(chart).nth(2)))
        shown = shown_text(page)
        assert (shown["run"], shown["layer"], shown["seeds"]) == (run, layer, "3")
        assert float(shown["L0"]) == pytest.approx(row.l0, rel=1e-3)
        assert float(shown["value"]) == pytest.approx(row.value, rel=1e-3)
        low, high = map(float, shown["95 % interval"].split(" to "))
        assert (low, high) == pytest.approx((row.low, row.high), rel=0.01)
        page.mouse.move(0, 0)
        assert shown_text(page) == {}


def test_hover_near_a_point_or_a_line_tells_the_nearest_values_and_far_from_both_nothing(opened: Any) -> None:
    page = opened()
    chart = page.locator("#pareto")
    (x, y), (next_x, next_y) = (middle(points_of(chart).nth(i)) for i in (1, 2))
    page.mouse.move(x, y)
    at_point = shown_text(page)
    page.mouse.move(x, y + 6)
    assert shown_text(page) == at_point
    page.mouse.move(x + 0.3 * (next_x - x), y + 0.3 * (next_y - y))
    assert shown_text(page) == at_point != {}
    box = chart.locator("svg.marks").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    assert shown_text(page) == {}


def test_tap_on_a_phone_tells_the_nearest_values_inside_the_screen_until_a_tap_elsewhere(
    browser: Any, page_file: Path
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto(page_file.as_uri())
    page.wait_for_function(DRAWN)
    chart = page.locator("#pareto")
    for i in (0, 2):
        x, y = middle(points_of(chart).nth(i))
        page.touchscreen.tap(x + 5, y + 5)
        assert shown_text(page)["run"] == f"baseline_target_l0={(20, 40, 80)[i]}"
        box = page.locator(".tip").bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
    page.touchscreen.tap(*middle(chart.locator("select").first))
    assert shown_text(page) == {}
    page.close()


def test_hover_tells_the_values_of_the_highlighted_architecture_only(opened: Any) -> None:
    page = opened()
    chart = page.locator("#pareto")
    place = middle(points_of(chart).nth(0))
    chart.locator(".legend button", has_text="jumprelu").click()
    page.mouse.move(*place)
    assert shown_text(page).get("architecture", "jumprelu") == "jumprelu"


def test_hover_on_a_line_of_training_tells_its_run_and_value(opened: Any) -> None:
    page = opened()
    page.locator("summary").click()
    chart = page.locator("#training")
    page.wait_for_function("document.querySelector('#training svg.marks').getBoundingClientRect().width > 300")
    line = chart.locator("path[aria-roledescription='line mark']").first
    line.scroll_into_view_if_needed()
    place = line.evaluate(
        "(line) => { const p = line.getPointAtLength(line.getTotalLength() / 2).matrixTransform(line.getScreenCTM());"
        " return [p.x, p.y]; }"
    )
    page.mouse.move(*place)
    assert {"run", "activations seen", "value"} == set(shown_text(page))


def test_menu_of_a_grid_changes_the_measure_of_all_panels(opened: Any) -> None:
    page = opened()
    grid = page.locator("#layers")
    assert grid.locator("svg.marks").count() == N_LAYERS
    assert grid.get_by_text("nats lost (nats per token), lower is better", exact=True).count() == N_LAYERS
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


def test_ticked_box_shows_the_control_in_the_chart_and_the_legend_on_axes_that_fit_it(opened: Any) -> None:
    page = opened()
    chart = page.locator("#pareto")
    chart.locator("select[name=measure]").select_option("kl")
    entry, lines = (chart.locator(".legend button", has_text="frozen"), chart.locator(".mark-line path"))
    labels = chart.locator(".role-axis-label text")
    assert (entry.is_visible(), lines.count()) == (False, len(ARCHITECTURES))
    before = labels.all_inner_texts()
    chart.get_by_label("show frozen").check()
    page.wait_for_function(f"document.querySelectorAll('#pareto .mark-line path').length === {len(ARCHITECTURES) + 1}")
    assert entry.is_visible()
    assert labels.all_inner_texts() != before
    entry.click()
    chart.get_by_label("show frozen").uncheck()
    page.wait_for_function(f"document.querySelectorAll('#pareto .mark-line path').length === {len(ARCHITECTURES)}")
    assert (entry.is_visible(), labels.all_inner_texts() == before) == (False, True)
    assert chart.locator(".legend [aria-pressed=true]").count() == 0
