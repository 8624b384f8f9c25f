"""The panel "Compare two": its first table, and what its menus show in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment, PackageLoader

from analyze.compare.equal_l0.comparison import compare
from analyze.compare.equal_l0.matching import Matching
from analyze.compare.equal_l0.sentence import VerdictRow, verdict_row
from analyze.compare.equal_l0.sides import Side, find_sides
from analyze.report import html
from analyze.report.html import PACKAGE
from analyze.report.pages.compare_two import section, verdict_columns
from analyze.runs.configurations import configurations
from analyze.runs.families import families
from analyze.web.document import FRAME, resource
from tests.analyze.compare.equal_l0.made_up import HOOKS, family, measured
from tests.helpers.pages.browser import watched_pages

TRUE = {"baseline": [0.1] * 6, "nsae": [0.08] * 4 + [0.13] * 2, "other": [0.05] * 6}


@pytest.fixture(scope="module")
def content() -> Any:
    """The parts of a report's content that the panel reads, with three families."""
    runs = [*family("baseline", 3), *family("nsae", 3)]
    sides = [
        *find_sides(runs, [Path("runs")]), Side("other", configurations(family("baseline", 3, folder="other")))
    ]  # fmt: skip
    nats, kl = (measured(sides, TRUE, measure=name) for name in ("nats_lost", "kl"))
    matching = Matching({"l0": nats, "nats_lost": nats, "kl": kl | nats}, sides, HOOKS)
    comparisons = compare(matching, ["nats_lost", "kl"], [40], [], "document")
    rows = [verdict_row(comparison) for comparison in comparisons]
    return SimpleNamespace(
        measurements=SimpleNamespace(hooks=HOOKS, families=families(runs)), tables=SimpleNamespace(verdicts=rows)
    )


def row_of(content: Any, first: str, second: str, measure: str = "nats_lost") -> VerdictRow:
    rows: list[VerdictRow] = content.tables.verdicts
    return next(row for row in rows if (row.first, row.second, row.measure) == (first, second, measure))


def test_panel_first_compares_nsae_with_the_baseline_at_the_middle_l0(content: Any) -> None:
    shown = section(content)
    assert shown is not None
    assert (shown["second"], shown["first"], shown["l0"]) == ("nsae", "baseline", "40")
    (title, (measure, difference, higher, lower, undecided)), _ = shown["rows"]
    row = row_of(content, "baseline", "nsae")
    assert (title, measure.below) == ("nats lost", "lower is better")
    assert difference == html.interval(row)
    assert (higher.text, lower.text, undecided.text) == ("4, 5", "0, 1, 2, 3", "–")
    assert not shown["incomplete"]


def test_panel_explains_dashes_if_two_architectures_are_not_compared_at_an_l0(content: Any) -> None:
    row = replace(row_of(content, "baseline", "nsae"), l0=80.0, value=None, low=None, high=None)
    verdicts = [*content.tables.verdicts, row]
    shown = section(SimpleNamespace(measurements=content.measurements, tables=SimpleNamespace(verdicts=verdicts)))  # type: ignore[arg-type]
    assert shown is not None
    assert shown["incomplete"]


@pytest.fixture
def omitted() -> tuple[str, str] | None:
    """Return the pair that the table of verdicts is without."""
    return None


@pytest.fixture
def opened(browser: Any, content: Any, omitted: tuple[str, str] | None, tmp_path: Path) -> Iterator[Any]:
    """Open a page of the panel and the table of verdicts at a width."""
    verdicts = [row for row in content.tables.verdicts if (row.first, row.second) != omitted]
    environment = Environment(loader=PackageLoader(PACKAGE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    body = environment.from_string(
        '{% from "table.html" import table %}<div class="answer">{% include "compare.html" %}</div>'
        '<div id="verdicts">{{ table(verdicts, "Verdicts") }}</div>'
    ).render(answer={"compared": section(content)}, verdicts=html.table(verdicts, verdict_columns(content)))
    style = resource(FRAME, "base.css") + resource(PACKAGE, "style.css")
    path = tmp_path / "page.html"
    path.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style><body>{body}<script>{resource(PACKAGE, 'compare.js')}</script></body></html>",
        encoding="utf-8",
    )
    with watched_pages(browser, "document.querySelector('#compare select') !== null") as open_page:
        yield lambda width: open_page(path.as_uri(), width, "light")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1300, 390])
def test_menus_show_another_pair_either_way_round_and_the_keyboard_reaches_them(
    opened: Any, content: Any, width: int
) -> None:
    page = opened(width)
    panel = page.locator("#compare")

    def shown() -> list[str]:
        texts: list[str] = panel.locator("tbody tr").first.locator("td").all_inner_texts()
        return [text.replace("\n", " ").strip() for text in texts]

    def expected(row: VerdictRow) -> str:
        cell = html.interval(row)
        return f"{cell.text} {cell.below}"

    assert shown() == [expected(row_of(content, "baseline", "nsae")), "4, 5", "0, 1, 2, 3", "–"]
    panel.locator("select[name=first]").select_option("other")
    forward = html.interval(row_of(content, "nsae", "other"))
    low, high = forward.below.split(" to ")
    # The stored difference is other − nsae, whose numbers are negative here.
    assert shown()[0] == f"{forward.text[1:]} {high[1:]} to {low[1:]}"
    assert shown()[1:] == ["all 6", "–", "–"]
    assert panel.locator("caption").inner_text() == "nsae − other at L0 = 40"
    panel.locator("select[name=second]").select_option("other")  # the two change places
    assert shown() == [expected(row_of(content, "nsae", "other")), "–", "all 6", "–"]
    assert panel.locator("caption").inner_text() == "other − nsae at L0 = 40"
    panel.locator("select[name=second]").focus()
    page.keyboard.press("ArrowUp")
    assert panel.locator("caption").inner_text() == "nsae − other at L0 = 40"
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
@pytest.mark.parametrize("omitted", [("nsae", "other")])
def test_a_pair_that_is_compared_in_no_layer_has_dashes(opened: Any) -> None:
    page = opened(1300)
    panel = page.locator("#compare")
    panel.locator("select[name=first]").select_option("other")
    assert panel.locator("caption").inner_text() == "nsae − other at L0 = 40"
    assert set(panel.locator("tbody td").all_inner_texts()) == {"–"}
    panel.locator("select[name=first]").select_option("baseline")
    assert "–" not in panel.locator("tbody tr").first.locator("td").first.inner_text()
