"""Claim 7: most NSAE features have small norms, and some are nearly parallel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from analyze.compare.claims.features import claims
from analyze.measure.dictionary_summary import DictionarySummary
from tests.analyze.compare.claims.made_up import HOOKS, NSAES, RUNS, made_up, portrait, verdicts
from train.variants import FrozenSettings


def test_claim_7_counts_short_features_near_duplicates_and_their_overlap() -> None:
    def dictionaries(**nsae: Any) -> list[DictionarySummary]:
        return [portrait(r, hook, **(nsae if r.variant == "nsae" else {})) for r in RUNS for hook in HOOKS]

    yes = made_up(
        dictionaries=dictionaries(small_norm_share=0.9, near_twin_share=0.1, pillars_that_are_directions=0.01)
    )
    no = made_up(dictionaries=dictionaries(small_norm_share=0.2, near_twin_share=0.0, pillars_that_are_directions=0.5))
    for words in ("most of NSAE's live features", "nearly parallel", "hardly ever directions"):
        assert verdicts(claims, yes, words) == ["holds"]
    assert verdicts(claims, no, "most of NSAE's live features") == ["does not hold"]
    assert verdicts(claims, no, "hardly ever directions") == ["does not hold"]
    assert verdicts(claims, no, "nearly parallel") == ["does not hold"]  # neither has any
    without = made_up(dictionaries=dictionaries())
    assert verdicts(claims, without, "hardly ever directions") == ["not enough data"]
    assert "no layer has directions" in {claim.note for claim in claims(without)}


def test_claim_7_notes_the_counts_of_the_random_decoder_control() -> None:
    settings = replace(NSAES[0].settings.experiment.runs[0], name="f", variant="frozen", settings=FrozenSettings(4))
    experiment = replace(NSAES[0].settings.experiment, runs=(settings,))
    random_decoder = replace(NSAES[0], name="f", settings=replace(NSAES[0].settings, experiment=experiment))
    shares = {"small_norm_share": 0.25, "near_twin_share": 0.125, "pillars_that_are_directions": 0.5}
    dictionaries = [
        portrait(r, hook, **(shares if r is random_decoder else {})) for r in [*RUNS, random_decoder] for hook in HOOKS
    ]
    with_random_decoder = made_up(runs=[*RUNS, random_decoder], dictionaries=dictionaries)
    notes = [claim.note for claim in claims(with_random_decoder) if claim.hook == "all"]
    assert [note.rpartition("; ")[2] for note in notes] == [
        f"control with a random decoder {share:g}" for share in (0.25, 0.5, 0.125)
    ]
    assert not any("control" in claim.note for claim in claims(made_up(dictionaries=dictionaries)))
