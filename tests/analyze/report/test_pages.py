"""The report's pages in a real browser, offline: on a wide screen and a phone, light and dark, and printed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.pages.browser import watched_pages
from tests.helpers.pages.page_checks import CUT_OFF, LOW_CONTRAST

pytestmark = pytest.mark.browser

PAGES = ("index.html", "post.html")
HEIGHTS = {1300: 900, 390: 844}  # of a screen, by its width
DRAWN = "[...document.querySelectorAll('.chart')].every((chart) => 'drawn' in chart.dataset)"
HELD_OUT = '[aria-label="Measures on the held-out split"]'


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Any]:
    """Open a page of the report at a width."""
    with watched_pages(browser, DRAWN) as open_page:
        yield lambda name, width=1300, scheme="light": open_page(
            (report / name).as_uri(), width, scheme, HEIGHTS.get(width, 900)
        )


@pytest.fixture(scope="module")
def answer(report: Path) -> list[str]:
    sentences: list[str] = json.loads((report / "metrics.json").read_text())["answer"]
    return sentences


@pytest.mark.parametrize("width", HEIGHTS)
@pytest.mark.parametrize("name", PAGES)
def test_page_opens_offline_with_nothing_cut_off_and_enough_contrast_in_light_and_dark(
    opened: Any, name: str, width: int
) -> None:
    page = opened(name, width)
    page.evaluate("document.querySelectorAll('details').forEach((node) => (node.open = true))")
    images = page.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth, i.alt.length])")
    assert all(complete and wide > 100 and described > 10 for complete, wide, described in images)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(LOW_CONTRAST) == {}
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light")
    assert dark != page.evaluate("getComputedStyle(document.body).backgroundColor")


@pytest.mark.parametrize("width", HEIGHTS)
def test_first_screen_has_the_answer_a_chart_and_the_table(opened: Any, answer: list[str], width: int) -> None:
    page = opened("index.html", width)
    first, second = HEIGHTS[width], 2 * HEIGHTS[width]
    assert page.locator(".verdicts li").all_inner_texts() == answer != []
    bottoms = [
        page.locator(selector).last.bounding_box()["y"] + page.locator(selector).last.bounding_box()["height"]
        for selector in (".verdicts", "#chart-pareto svg.marks", ".answer .table tbody tr:nth-child(2)")
    ]
    assert bottoms[0] < first
    assert max(bottoms) < (first if width == 1300 else second)


def test_menus_choose_what_a_chart_shows_and_the_legend_highlights_a_family(opened: Any) -> None:
    page = opened("index.html")
    chart = page.locator("#chart-pareto")
    points = "[...document.querySelectorAll('#chart-pareto .mark-symbol path')]"
    drawn = f"{points}.map(p => p.getAttribute('transform'))"
    before = page.evaluate(drawn)
    assert before
    chart.locator("select[name=measure]").select_option("explained_variance")
    page.wait_for_function(f"(before) => ({drawn}).join() !== before.join()", arg=before)
    faint = f"{points}.filter(p => p.getAttribute('opacity') < 1).length"
    assert page.evaluate(faint) == 0
    chart.locator(".legend button").first.click()
    page.wait_for_function(f"() => {faint} > 0")


@pytest.mark.parametrize("name", PAGES)
def test_every_page_links_the_others_and_its_own_sections(opened: Any, name: str, report: Path) -> None:
    links = (
        opened(name)
        .locator("nav a")
        .evaluate_all(
            "links => links.map(a => [a.getAttribute('href'), a.getAttribute('aria-current'), "
            "a.hash === '' || document.querySelector(a.hash) !== null])"
        )
    )
    assert [href for href, _, _ in links][:3] == [*PAGES, "features.html"]
    assert [href for href, current, _ in links if current] == [name]
    assert all(there and (report / href.split("#")[0]).exists() for href, _, there in links)


def test_tables_sort_by_number_and_text_both_ways_the_best_values_first(opened: Any) -> None:
    page = opened("index.html")
    table = page.locator(f"{HELD_OUT} table")
    values = "(t, i) => [...t.tBodies[0].rows].map(r => r.cells[i].dataset.value ?? r.cells[i].textContent.trim())"
    heads = table.locator("thead th").all_inner_texts()

    def sorted_by(column: str, order: str) -> list[float]:
        i = next(n for n, head in enumerate(heads) if head.startswith(column))
        table.locator("th button").nth(i).click()
        assert table.locator("th[aria-sort]").evaluate_all("heads => heads.map(head => head.ariaSort)") == [order]
        cells = table.evaluate(f"t => ({values})(t, {i})")
        numbers = [float(v) for v in cells if v != "–"]
        assert cells[len(numbers) :] == ["–"] * (len(cells) - len(numbers))
        return numbers

    for column, orders in {
        "L0": ("ascending", "descending"), "explained variance": ("descending", "ascending"),
        "γ": ("other", "ascending", "descending"),
    }.items():  # fmt: skip
        for order in (*orders, orders[0]):
            numbers = sorted_by(column, order)
            keys = [abs(number - 1) for number in numbers] if order == "other" else numbers
            assert keys == sorted(keys, reverse=order == "descending")
            assert len(set(keys)) > 3
    table.locator("th button").nth(0).click()
    runs = table.evaluate(f"t => ({values})(t, 0)")
    assert runs[0].startswith("baseline")
    assert runs[-1].startswith("nsae")


def test_sorting_keeps_rows_in_their_group(opened: Any) -> None:
    page = opened("index.html")
    groups = (
        "() => [...document.querySelectorAll('.answer .table tbody')].map(body => [...body.rows].map(row => "
        "row.classList.contains('group') ? row.cells[0].textContent : Number(row.cells[1].dataset.value)))"
    )
    before = page.evaluate(groups)
    assert all(isinstance(title, str) for title, *_ in before)
    page.locator(".answer thead button").nth(1).click()
    assert page.evaluate(groups) == [[title, *sorted(l0)] for title, *l0 in before]


def test_filter_shows_the_rows_that_have_all_words_and_counts_them(opened: Any) -> None:
    page = opened("index.html")
    frame = page.locator(".table", has=page.locator(HELD_OUT))
    rows, count, box = frame.locator("tbody tr"), frame.locator("output"), frame.locator("input")
    total = rows.count()
    assert count.inner_text() == f"{total} of {total} rows"
    box.fill("NSAE without")
    shown = frame.locator("tbody tr:visible").all_inner_texts()
    assert 0 < len(shown) < total
    assert all("nsae" in text and "without 0" in text for text in shown)
    assert count.inner_text() == f"{len(shown)} of {total} rows"
    number = frame.locator("tbody tr:visible td[data-value]").nth(1).evaluate("cell => cell.firstChild.textContent")
    box.fill(f"nsae {number}")
    assert 0 < frame.locator("tbody tr:visible").count() < total
    assert all(number in text for text in frame.locator("tbody tr:visible").all_inner_texts())


def test_filter_that_no_row_matches_says_so_and_is_cleared_by_a_button(opened: Any) -> None:
    page = opened("index.html")
    frame = page.locator(".table", has=page.locator(HELD_OUT))
    total, clear = frame.locator("tbody tr").count(), frame.locator(".filter button")
    assert clear.is_hidden()
    frame.locator("input").fill("no row has these words")
    assert frame.locator("tbody tr:visible").count() == 0
    assert frame.locator("output").inner_text() == "No row matches “no row has these words”."
    clear.click()
    assert frame.locator("tbody tr:visible").count() == total
    assert (frame.locator("input").input_value(), clear.is_hidden()) == ("", True)


def test_filter_matches_the_title_of_a_rows_group(opened: Any) -> None:
    page = opened("index.html")
    titles = """() => [...document.querySelectorAll(".answer tbody")].every((body) =>
      rowsOf(body).every((row) => hasWord(partsOf(row), wordsOf(body.rows[0].textContent).at(-1))))"""
    assert page.evaluate(titles)


def test_filter_takes_all_dashes_and_against_for_the_same_and_the_beginnings_of_words_and_numbers(opened: Any) -> None:
    page = opened("post.html")
    has = """([filter, row]) => {
      const made = document.createElement("tr");
      for (const [text, value] of row) {
        const cell = made.insertCell();
        cell.textContent = text;
        if (value !== undefined) cell.dataset.value = value;
      }
      return wordsOf(filter).every((word) => hasWord(partsOf(made), word));
    }"""
    row = [["nsae − baseline, p-anneal"], ["40", 40], ["★ −0.0123", -0.0123], ["25,600", 25600]]
    for text in (
        "nsae against baseline",
        "nsae − baseline",
        "NSAE - baseline 40",
        "-0.0123",
        "–0.01",
        "25600",
        "p-an",
        "anneal",
    ):
        assert page.evaluate(has, [text, row]), text
    for text in ("0", "0.0123", "baseline 41", "600", "line"):
        assert not page.evaluate(has, [text, row]), text


@pytest.mark.parametrize("width", HEIGHTS)
def test_first_column_and_heads_stay_in_place_when_a_table_is_scrolled(opened: Any, width: int) -> None:
    page = opened("index.html", width)
    moved = page.evaluate(
        f"""() => {{
          const scroll = document.querySelector('{HELD_OUT}'), table = scroll.firstElementChild;
          const head = table.tHead.rows[0].cells, cells = table.tBodies[0].rows[0].cells;
          const places = () => {{
            const [first, third, top] = [cells[0], cells[2], head[0]].map((cell) => cell.getBoundingClientRect());
            return [first.left, third.left, top.top - scroll.getBoundingClientRect().top];
          }};
          const before = places();
          scroll.scrollTo({{ left: 150, top: 60, behavior: "instant" }});
          const moved = places().map((place, i) => place - before[i]);
          return [...moved, cells[0].getBoundingClientRect().width / scroll.clientWidth, scroll.scrollLeft];
        }}"""
    )
    first, third, head, share, scrolled = moved
    assert scrolled > 0 or width == 1300
    assert (first, third, head) == (0, -scrolled, 0)
    assert share < 0.5  # the rest of the table can be read beside it


def test_shadow_marks_the_right_edge_of_a_table_until_it_is_scrolled_to_its_end(opened: Any) -> None:
    page = opened("index.html", 390)
    scroll = page.locator(HELD_OUT)
    shades = list[Any]()
    for place in ("0", "node.scrollWidth"):
        scroll.evaluate(f"node => node.scrollTo({{ left: {place}, behavior: 'instant' }})")
        with Image.open(io.BytesIO(scroll.screenshot())) as image:
            shades.append(image.convert("L").getpixel((image.width - 2, image.height // 2)))
    assert shades[0] < 220
    assert shades[1] == 255


def test_report_prints_to_pdf_with_all_details_open_and_closes_them_again(opened: Any, tmp_path: Path) -> None:
    page = opened("index.html")
    page.evaluate(
        "addEventListener('beforeprint', () => (window.open_when_printed = "
        "[...document.querySelectorAll('details')].map(d => d.open)))"
    )
    closed = page.locator("details:not([open])").count()
    page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert set(page.evaluate("window.open_when_printed")) == {True}
    assert page.locator("details:not([open])").count() == closed > 0


@pytest.mark.parametrize("name", PAGES)
def test_page_printed_on_a4_keeps_columns_and_drops_controls(opened: Any, name: str) -> None:
    page = opened(name, 718, "dark")  # A4 less Chromium's margins, in CSS pixels
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("input:visible, nav:visible").count() == 0
