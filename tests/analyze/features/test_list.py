"""The list of the page of features in a real browser: its columns, orders, and place on a phone."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from analyze.features.measure import FeatureSettings
from analyze.features.page.write import ShownSAE, write_features_page
from tests.analyze.features.conftest import SeedRuns
from tests.helpers.pages.browser import watched_pages
from tests.helpers.pages.feature_pages import index_of

pytestmark = pytest.mark.browser

SORTED = "[...document.querySelectorAll('#list th[aria-sort]')].map((h) => [h.innerText.split(' ')[0], h.ariaSort])"


def column(page: Any, head: str) -> list[str]:
    """Return the texts of a column's cells, of their first lines."""
    heads = page.locator("#list th:visible").all_inner_texts()
    i = next(i for i, text in enumerate(heads) if text.startswith(head))
    cells = page.evaluate(
        "[...document.querySelectorAll('#rows tr')].map((row) => [...row.cells].map((c) => c.innerText))"
    )
    return [row[i].split("\n")[0] for row in cells]


def numbers(texts: list[str]) -> list[float]:
    return [float(text.removesuffix("%")) for text in texts]


def test_heads_sort_by_click_and_by_key_and_the_menu_shows_the_order(opened: Any) -> None:
    page = opened()
    assert page.evaluate(SORTED) == [["feature", "ascending"]]
    head = page.locator("#list th button", has_text="density")
    head.click()
    rising = numbers(column(page, "density"))
    assert rising == sorted(rising)
    assert len(set(rising)) > 3
    assert page.evaluate(SORTED) == [["density", "ascending"]]
    assert page.locator("#order").input_value() == "density ascending"
    head.focus()
    page.keyboard.press("Enter")
    falling = numbers(column(page, "density"))
    assert falling == sorted(falling, reverse=True)
    assert page.evaluate(SORTED) == [["density", "descending"]]
    page.locator("#order").select_option("largest ascending")
    assert page.evaluate(SORTED) == [["largest", "ascending"]]
    largest = numbers(column(page, "largest"))
    assert largest == sorted(largest)


def test_the_list_is_ordered_by_the_cosine_with_the_match_in_the_other_seed(opened: Any, features_page: Path) -> None:
    page = opened()
    page.locator("#order").select_option("cosine descending")
    matches = [match for sae in index_of(features_page)["saes"] for match in sae["match"] if match]
    run, number, cosine = max(matches, key=lambda match: match[2])
    assert column(page, "other seed")[0] == f"{cosine:.2f}"
    shown = numbers(column(page, "other seed"))
    assert shown == sorted(shown, reverse=True)
    page.locator("#rows td.ordered a").first.click()
    page.wait_for_selector(".examples")
    assert page.locator("#detail h2").inner_text().split()[1] == str(number)
    assert f", {run}, " in page.locator("#detail h2 + .note").inner_text()


def test_a_run_without_another_seed_has_no_column_of_matches(browser: Any, seed_runs: SeedRuns, tmp_path: Path) -> None:
    fires = seed_runs.fires[0]
    live = fires.all.live.nonzero()[:5, 0].tolist()
    page_file = write_features_page(tmp_path, seed_runs.heldout, [ShownSAE(fires, live)], None, FeatureSettings())
    with watched_pages(browser, "document.querySelectorAll('#rows tr').length > 0") as open_page:
        page = open_page(page_file.as_uri())
        assert [head.split(" ")[0] for head in page.locator("#list th:visible").all_inner_texts()] == [
            "feature", "fires", "density", "norm", "largest",
        ]  # fmt: skip
        assert page.locator("#order option[value^=cosine]").count() == 0


def test_a_search_for_a_token_orders_by_the_share_of_strongest_contexts_on_it(opened: Any, features_page: Path) -> None:
    page = opened()
    saes = index_of(features_page)["saes"]
    counts = [dict(peaks) for sae in saes for peaks in sae["peaks"]]
    token = max(
        {token for of in counts for token in of if token.strip()}, key=lambda t: sum(of.get(t, 0) for of in counts)
    )
    assert not page.locator("#list th", has_text="on token").is_visible()
    page.locator("#search").fill(f'"{token}"')
    expected = sorted((of[token] / sum(of.values()) for of in counts if token in of), reverse=True)
    cells = [text.split(" of ") for text in column(page, "on token")]
    shares = [int(on) / int(of) for on, of in cells]
    assert shares[: len(expected)] == expected[: len(shares)]
    assert len([share for share, _ in groupby(shares)]) == len(set(shares))
    assert page.evaluate(SORTED) == [["on", "descending"]]
    assert "searched token" in page.locator("#on-token").inner_text()
    page.locator("#search").fill("")
    assert not page.locator("#list th", has_text="on token").is_visible()


def test_a_phone_comes_back_to_the_place_in_the_list(opened: Any) -> None:
    page = opened(390)
    link = page.locator("#rows a").nth(40)
    link.scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 137)")
    before = page.evaluate("scrollY")
    assert before > 500
    for leave in (lambda: page.locator(".back").click(), page.go_back):
        link.click()
        page.wait_for_selector(".examples")
        assert page.evaluate("scrollY") == 0
        leave()
        page.wait_for_function("document.querySelector('#list').checkVisibility()")
        page.wait_for_timeout(50)  # a browser restores its own position late
        assert page.evaluate("scrollY") == before
    link.click()
    page.wait_for_selector(".examples")
    row = page.evaluate("document.querySelector('#rows tr[aria-current]').rowIndex")
    page.evaluate("for (let i = 0; i < 30; i++) dispatchEvent(new KeyboardEvent('keydown', { key: 'j' }))")
    page.wait_for_function(f"document.querySelector('#rows tr[aria-current]')?.rowIndex === {row + 30}")
    page.locator(".back").click()
    seen = "document.querySelector('#rows tr[aria-current]').getBoundingClientRect()"
    page.wait_for_function("document.querySelector('#list').checkVisibility()")
    page.wait_for_function(f"{seen}.top >= 0 && {seen}.bottom < innerHeight + 1 && scrollY > {before}")
    page.wait_for_timeout(50)  # details that load late must not scroll
    assert page.evaluate(f"{seen}.bottom < innerHeight + 1")


def test_the_page_says_which_command_shows_a_text(opened: Any) -> None:
    page = opened()
    page.locator("#hint summary").click()
    assert 'analyze features --store STORE RUNS --text "' in page.locator("#hint").inner_text()
