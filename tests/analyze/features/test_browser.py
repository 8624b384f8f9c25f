"""The page of features in a real browser, offline: on a wide screen and a phone, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from analyze.features.measure import FeatureSettings
from analyze.features.page.write import ShownSAE, write_features_page
from analyze.runs.trained_run import TrainedRun
from tests.analyze.features.conftest import SeedRuns
from tests.analyze.features.test_ablate import LinearModel
from tests.helpers.pages.feature_pages import features_of, index_of
from tests.helpers.pages.page_checks import CUT_OFF, LOW_CONTRAST

pytestmark = pytest.mark.browser

# Between the firing token and the token before it: the horizontal gap, and the difference of their tops.
GAPS_BEFORE_FIRING = """[...document.querySelectorAll('.examples tr')].flatMap((row) => {
  const before = row.cells[0].lastElementChild?.getBoundingClientRect();
  const firing = row.querySelector('.firing').getBoundingClientRect();
  return before ? [[firing.left - before.right, firing.top - before.top]] : [];
})"""


def open_first(page: Any) -> None:
    page.locator("#rows a").first.click()
    page.wait_for_selector(".examples")


def heading(page: Any) -> str:
    text: str = page.locator("#detail h2").inner_text()
    return text.split()[1]


@pytest.mark.parametrize("width", [1300, 390])
def test_page_opens_offline_with_nothing_cut_off_and_enough_contrast_in_light_and_dark(opened: Any, width: int) -> None:
    page = opened(width)
    for shown in ("list", "feature"):
        if shown == "feature":
            open_first(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(CUT_OFF) == []
            assert page.evaluate(LOW_CONTRAST) == {}


def test_a_print_on_a4_fits_the_page_and_without_an_open_feature_shows_the_list(opened: Any) -> None:
    page = opened(718)  # A4 with margins of 1 cm, in CSS pixels
    page.emulate_media(media="print")
    assert page.locator("#list").is_visible()
    page.emulate_media(media="screen")
    open_first(page)
    page.emulate_media(media="print")
    assert not page.locator("#list").is_visible()
    assert not page.locator(".keys").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    edges = "[...document.querySelectorAll('.examples td')].map((c) => c.getBoundingClientRect().toJSON())"
    cells = page.evaluate(edges)
    assert all(cell["left"] >= 0 and cell["right"] <= 718 for cell in cells)
    gaps = page.evaluate(GAPS_BEFORE_FIRING)
    assert gaps
    assert max(abs(gap) for pair in gaps for gap in pair) < 1
    hidden = "[...document.querySelectorAll('.examples td')].every((c) => getComputedStyle(c).overflowX === 'hidden')"
    assert page.evaluate(hidden)


def test_search_finds_features_by_token_number_and_kind(opened: Any, features_page: Path) -> None:
    page = opened()
    index = index_of(features_page)["saes"]
    token = next(token for on in index[0]["fires_on"] for token, _ in on if token.strip().isalpha())
    page.locator("#where").select_option("fires_on")
    page.locator("#search").fill(f'"{token}"')
    expected = sum(
        any(text == token for text, _ in [*on, *peaks])
        for sae in index
        for on, peaks in zip(sae["fires_on"], sae["peaks"], strict=True)
    )
    total = sum(len(sae["number"]) + len(sae["dead"]) for sae in index)
    assert page.locator("#count").inner_text() == f"{expected} of {total} features"
    page.locator("#where").select_option("all")
    number = index[1]["number"][3]
    page.locator("#search").fill(str(number))
    assert page.locator("#rows a").first.inner_text() == str(number)
    page.locator("#search").fill("dead")
    assert page.locator("#rows tr.dead").count() >= min(100, sum(len(sae["dead"]) for sae in index))
    page.locator("#search").fill("no-such-token-anywhere")
    assert page.locator("#rows tr").count() == 0
    assert page.locator("#empty").inner_text().startswith("No feature fits the search and the menus.")
    page.locator("#clear").click()
    assert page.locator("#rows tr").count() > 0
    assert not page.locator("#empty").is_visible()


def test_search_finds_features_by_the_tokens_that_they_raise(opened: Any, features_page: Path) -> None:
    page = opened()
    index = index_of(features_page)["saes"]
    raised = [tokens for sae in index for tokens in sae["raises"]]
    fired_on = {text for sae in index for tokens in (*sae["fires_on"], *sae["peaks"]) for text, _ in tokens}
    token = next(text for tokens in raised for text in tokens if text.strip().isalpha() and text not in fired_on)
    page.locator("#search").fill(f'"{token}"')
    page.locator("#where").select_option("fires_on")
    assert page.locator("#rows tr").count() == 0
    page.locator("#where").select_option("raises")
    expected = sum(token in tokens for tokens in raised)
    assert page.locator("#rows tr").count() == expected > 0
    open_first(page)
    logits = page.locator("table", has=page.locator("xpath=preceding-sibling::h3[starts-with(., 'Raises')]"))
    assert token.strip() in [text.strip() for text in logits.locator("code").all_inner_texts()]


def test_dead_features_of_a_layer_and_run_are_listed_and_order_is_by_density(opened: Any, features_page: Path) -> None:
    page = opened()
    index = index_of(features_page)["saes"]
    page.locator("#layer").select_option(index[1]["layer"])
    page.locator("#run").select_option(index[1]["run"])
    page.locator("#order").select_option("density descending")
    densest = max(range(len(index[1]["number"])), key=lambda k: index[1]["fired"][k])
    assert (
        index[1]["fired"][index[1]["number"].index(int(page.locator("#rows a").first.inner_text()))]
        == (index[1]["fired"][densest])
    )
    page.locator("#kind").select_option("dead")
    page.locator("#order").select_option("number ascending")
    assert [int(text) for text in page.locator("#rows td:first-child a").all_inner_texts()] == index[1]["dead"][:100]


def test_links_with_the_top_token_lead_to_neighbours_and_the_match_in_the_other_seed(
    opened: Any, features_page: Path
) -> None:
    page = opened()
    features = features_of(features_page)
    feature = features[0]
    page.locator("#run").select_option(feature["run"])
    open_first(page)
    assert heading(page) == str(feature["number"])
    beside = page.locator("table.neighbours tr").first.locator("code").inner_text()
    number = feature["neighbours"][0][0]
    tops = {
        f["number"]: f["fires_on"][0][0] for f in features if (f["run"], f["hook"]) == (feature["run"], feature["hook"])
    }
    assert beside.strip() == tops[number].strip()
    page.locator("table.neighbours a").first.click()
    page.wait_for_function(f"document.querySelector('#detail h2').textContent.includes({feature['neighbours'][0][0]})")
    assert page.evaluate("document.getElementById('detail').getBoundingClientRect().top") > -1
    page.go_back()
    run, number, _ = feature["seeds"][0]
    page.locator("table.seeds a").first.click()
    page.wait_for_function(f"document.querySelector('#detail .note').textContent.includes({run!r})")
    assert heading(page) == str(number)


def test_examples_meet_at_the_firing_token_and_show_activations_by_shade_and_tip(
    opened: Any, features_page: Path
) -> None:
    page = opened()
    open_first(page)
    frame = page.locator(".examples").first
    lefts = frame.evaluate("(f) => [...f.querySelectorAll('.firing')].map((s) => s.getBoundingClientRect().left)")
    assert max(lefts) - min(lefts) < 1
    inside = frame.evaluate("(f) => f.getBoundingClientRect().toJSON()")
    assert inside["left"] < lefts[0] < inside["right"]
    strongest = features_of(features_page)[0]["strongest"][0]
    firing = frame.locator(".firing").first
    assert firing.inner_text().strip() == strongest["tokens"][strongest["firing"]].replace("\n", "↵").strip()
    assert firing.evaluate("(s) => s.style.getPropertyValue('--a')") == " 1.00".strip()
    firing.hover()
    assert page.locator("#tip").inner_text().startswith(f"{firing.inner_text()}: ")
    page.locator(".bars i").last.hover()
    assert " position" in page.locator("#tip").inner_text()


def test_keys_step_through_features_and_focus_the_search(opened: Any) -> None:
    page = opened(390)
    open_first(page)
    first = heading(page)
    page.keyboard.press("j")
    page.wait_for_function(f"document.querySelector('#detail h2').textContent.trim() !== 'Feature {first}'")
    page.keyboard.press("k")
    page.wait_for_function(f"document.querySelector('#detail h2').textContent.trim().startsWith('Feature {first}')")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    assert page.locator("#list").is_visible()


def test_a_text_shows_the_features_that_fire_on_the_chosen_token(opened: Any, features_page: Path) -> None:
    page = opened()
    assert page.locator("#text").inner_text().count("none") == 4
    page.locator(".tokens button").nth(1).click()
    number = index_of(features_page)["saes"][3]["number"][0]
    assert f": {number} (1.25)" in page.locator("#text p").last.inner_text()
    page.locator("#text a").last.click()
    page.wait_for_selector(".examples")
    assert heading(page) == str(number)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_norms_of_an_sae_that_divides_its_inputs_are_said_to_be_in_another_scale(
    browser: Any, seed_runs: SeedRuns, scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fires = seed_runs.fires[0]
    sae = fires.run.sae(fires.hook)
    sae.input_scale.fill_(scale)
    monkeypatch.setattr(TrainedRun, "sae", lambda *_: sae)
    number = int(torch.nonzero(fires.all.live)[0, 0])
    write_features_page(tmp_path, seed_runs.heldout, [ShownSAE(fires, [number])], None, FeatureSettings())
    page = browser.new_page()
    page.goto((tmp_path / "features.html").as_uri())
    open_first(page)
    facts = page.locator(".facts").inner_text()
    assert facts.count("in the scale of its normalised inputs") == (0 if scale == 1.0 else 2)
    page.close()


def test_the_effect_of_removing_a_feature_is_shown_and_orders_the_list(
    browser: Any, seed_runs: SeedRuns, tmp_path: Path
) -> None:
    fires = seed_runs.fires[0]
    numbers = sorted(fires.all.count.argsort(descending=True)[:20].tolist())
    sae = ShownSAE(fires, numbers, ablated=frozenset(numbers[1:]))
    write_features_page(tmp_path, seed_runs.heldout, [sae], None, FeatureSettings(), model=LinearModel(16))
    effects = {f["number"]: f["ablation"] for f in features_of(tmp_path) if f["ablation"] is not None}
    assert len(effects) > 2
    assert numbers[0] not in effects
    page = browser.new_page()
    page.goto((tmp_path / "features.html").as_uri())
    page.locator("#order").select_option("kl descending")
    by_effect = sorted(effects, key=lambda number: -effects[number][0])
    listed = [int(text) for text in page.locator("#rows td:first-child a").all_inner_texts()]
    assert listed[: len(effects)] == by_effect
    open_first(page)
    kl, positions = effects[by_effect[0]]
    shown = page.locator(".facts", has_text="effect when removed").inner_text()
    assert f"{float(f'{kl:.3g}'):g} nats" in shown
    assert f"mean KL over {positions:,} position" in shown
    page.close()


def test_a_missing_bundle_is_named(browser: Any, features_page: Path, tmp_path: Path) -> None:
    (tmp_path / "features.html").write_bytes((features_page / "features.html").read_bytes())
    page = browser.new_page()
    page.goto((tmp_path / "features.html").as_uri())
    page.locator("#rows a").first.click()
    page.wait_for_selector("#detail .message:has-text('features/0.js is missing')")
    page.close()
