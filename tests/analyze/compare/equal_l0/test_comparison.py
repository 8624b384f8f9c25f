"""Verdicts over layers at equal L0: on made-up measurements whose true differences are known."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyze.compare.equal_l0.comparison import Comparison, compare
from analyze.compare.equal_l0.matched import NotComparedError, key_of, match
from analyze.compare.equal_l0.sentence import ONE_SEED, plus_minus, verdict_row, verdict_text
from analyze.compare.equal_l0.sides import Side, find_sides
from analyze.runs.configurations import configurations
from analyze.runs.settled import Drift
from analyze.statistics.curves import Scale, bracket, interpolate
from analyze.statistics.estimates import Estimates
from analyze.statistics.trend import Trend
from tests.analyze.compare.claims.made_up import with_hooks
from tests.analyze.compare.equal_l0.made_up import (
    DOCUMENTS,
    HOOKS,
    compared,
    family,
    matching_of,
    mean_over_documents,
    measured,
    replaced_seed,
    two_families,
)
from train.measures import COMPARED

BASELINE = [0.1] * 6


def five_better_one_worse(n_seeds: int, **options: Any) -> Comparison:
    sides = two_families(n_seeds)
    true = {"baseline": BASELINE, "nsae": [0.08] * 5 + [0.13]}
    return compared(sides, measured(sides, true, **options))


def test_a_known_difference_is_found_in_each_layer_with_its_sign_and_size() -> None:
    comparison = five_better_one_worse(3)
    assert comparison.with_verdict("lower") == HOOKS[:5]
    assert comparison.with_verdict("higher") == HOOKS[5:]
    mean = comparison.mean(HOOKS[:5])
    assert abs(mean.value + 0.02) < mean.half_width < 0.006


def test_the_verdict_is_one_sentence_with_seeds_and_documents() -> None:
    text = verdict_text(five_better_one_worse(3))
    assert text.startswith("At L0 = 40 nsae loses 0.0")
    assert text.endswith(
        " nats per token less than baseline on average over 6 layers: more in 1 (layer 5), less in 5 (layers 0, 1, 2, "
        "3, 4); 3 seeds, 60 documents."
    )


def test_the_number_of_a_verdict_is_the_mean_over_all_compared_layers_also_where_they_disagree() -> None:
    comparison = five_better_one_worse(3)
    row = verdict_row(comparison)
    values = [d.value for d in comparison.differences.values()]
    assert row.value == pytest.approx(np.mean(values))
    assert row.value is not None
    assert row.low is not None
    assert row.high is not None
    assert (
        row.high - row.value == pytest.approx(row.value - row.low) == pytest.approx(comparison.mean_of_all.half_width)
    )
    assert f"nsae loses {plus_minus(-row.value, row.high - row.value)} nats per token less" in row.text


def test_sides_that_differ_both_ways_by_as_much_are_not_shown_to_differ_on_average() -> None:
    sides = two_families(3)
    comparison = compared(sides, measured(sides, {"baseline": BASELINE, "nsae": [0.07] * 3 + [0.13] * 3}))
    text = verdict_text(comparison)
    assert text.startswith(
        "At L0 = 40 nsae and baseline are not shown to differ in nats lost on average over 6 layers ("
    )
    assert ": more in 3 (layers 3, 4, 5), less in 3 (layers 0, 1, 2); 3 seeds, 60 documents." in text


def test_verdict_of_one_seed_begins_with_that_and_names_the_seed_spread_that_would_overturn_it() -> None:
    comparison = five_better_one_worse(1)
    text = verdict_text(comparison)
    assert text.startswith(ONE_SEED)
    spread = comparison.differences[HOOKS[0]].overturning_spread
    assert spread is not None
    assert 0.005 < spread < 0.02
    assert text.endswith("would overturn it.")


def test_one_seed_with_too_few_documents_tells_how_many_would_decide_about_these_saes() -> None:
    comparison = five_better_one_worse(1, documents=8)
    row = comparison.rows()[0]
    assert row.needed_effective_groups is not None
    assert row.needed_effective_groups > 8
    assert "no difference in nats lost between nsae and baseline can be decided (too few documents); " in verdict_text(
        comparison
    )


def test_two_seeds_decide_the_mean_over_layers_alone() -> None:
    sides = two_families(2)
    comparison = compared(sides, measured(sides, {"baseline": BASELINE, "nsae": [0.08] * 6}))
    assert comparison.with_verdict("undecided") == HOOKS
    text = verdict_text(comparison)
    assert " less than baseline on average over 6 layers; 2 seeds, 60 documents." in text
    assert "two seeds decide means over layers only" in text


def test_a_layer_that_is_undecided_says_how_many_seeds_and_documents_would_decide() -> None:
    sides = two_families(3)
    true = {"baseline": BASELINE, "nsae": [0.05] * 5 + [0.095]}
    comparison = compared(sides, measured(sides, true, seed=1))
    text, line = verdict_text(comparison), vars(comparison.rows()[5])
    assert comparison.with_verdict("undecided") == HOOKS[5:]
    assert ": less in 5 (layers 0, 1, 2, 3, 4), undecided in 1 (layer 5);" in text
    assert line["needed_seeds"] >= 3
    assert line["needed_effective_groups"] > line["effective_groups"]


def test_a_layer_that_is_undecided_after_correction_only_is_said_to_be() -> None:
    sides = two_families(3)
    comparison = compared(sides, measured(sides, {"baseline": BASELINE, "nsae": [0.087] * 6}))
    assert comparison.with_verdict("undecided") == HOOKS
    assert min(d.p_value for d in comparison.differences.values()) <= 0.05
    text = verdict_text(comparison)
    assert " on average over 6 layers: undecided in each layer alone after correction for 6 layers, none beyond" in text


def test_without_any_decided_layer_the_sentence_bounds_the_difference() -> None:
    sides = two_families(5)
    comparison = compared(sides, measured(sides, {"baseline": BASELINE, "nsae": BASELINE}))
    text = verdict_text(comparison)
    assert "nsae and baseline are not shown to differ in nats lost on average over 6 layers (nsae loses 0.00" in text
    assert ": undecided in each layer alone, none beyond ±0.0" in text
    assert 0.005 < vars(verdict_row(comparison))["largest_plausible"] < 0.03


def test_too_few_documents_decide_nothing_and_say_how_many_would() -> None:
    comparison = five_better_one_worse(3, documents=8, document_spread=0.0005, seed_spread=0.0001)
    assert comparison.with_verdict("undecided") == HOOKS
    line = vars(comparison.rows()[0])
    assert "too few documents" in line["note"]
    assert line["needed_effective_groups"] > line["effective_groups"]


def test_unfinished_runs_decide_nothing() -> None:
    baseline, nsae = two_families(3)
    sides = [baseline, Side(nsae.name, configurations([replace(run, trained=48) for run in nsae.runs]))]
    comparison = compared(sides, measured(sides, {"baseline": BASELINE, "nsae": [0.05] * 6}))
    assert comparison.with_verdict("undecided") == HOOKS
    assert "unfinished: runs/nsae 1 0 at 48 of 96 rows" in verdict_text(comparison)


def test_unsettled_saes_decide_nothing_in_their_layer() -> None:
    sides = two_families(3)
    estimates = measured(sides, {"baseline": BASELINE, "nsae": [0.05] * 6})
    moving = Drift(sides[1].runs[0].name, HOOKS[2], "l0", Trend(0.5, 0.01, 1.0, 100))
    (comparison,) = compare(matching_of(sides, estimates, "nats_lost"), ["nats_lost"], [40], [moving], "document")
    assert comparison.with_verdict("undecided") == [HOOKS[2]]
    assert "not settled" in comparison.undecidable[HOOKS[2]]


def test_a_verdict_says_in_which_layers_the_logs_do_not_tell_whether_the_runs_have_settled() -> None:
    sides = two_families(3)
    estimates = measured(sides, {"baseline": BASELINE, "nsae": [0.05] * 6})
    noisy = Drift(sides[1].runs[0].name, HOOKS[2], "l0", Trend(0.0, 0.5, 1.0, 100))
    (comparison,) = compare(matching_of(sides, estimates, "nats_lost"), ["nats_lost"], [40], [noisy], "document")
    assert comparison.with_verdict("lower") == HOOKS
    assert "The logs do not tell whether all runs have settled in layer 2." in verdict_text(comparison)


def test_hooks_that_a_side_lacks_are_not_compared() -> None:
    baseline, nsae = two_families(3)
    sides = [baseline, Side("nsae", configurations([with_hooks(run, HOOKS[1:]) for run in nsae.runs]))]
    comparison = compared(sides, measured(sides, {"baseline": BASELINE, "nsae": [0.05] * 6}))
    assert comparison.not_compared == {HOOKS[0]: "nsae has no SAE at this hook"}
    assert comparison.with_verdict("lower") == HOOKS[1:]


def test_the_p_values_of_layers_are_corrected_together() -> None:
    comparison = five_better_one_worse(3)
    p = [comparison.differences[hook].p_value for hook in HOOKS]
    assert comparison.adjusted_p[HOOKS[int(np.argmin(p))]] == pytest.approx(6 * min(p))
    assert comparison.adjusted_p[HOOKS[int(np.argmax(p))]] == pytest.approx(max(max(p), sorted(p)[-2] * 2))


def test_two_copies_of_one_architecture_get_no_more_verdicts_than_promised() -> None:
    runs = [*family("nsae", 5, folder="first"), *family("nsae", 5, folder="second")]
    sides = find_sides(runs, [Path("first"), Path("second")])
    with_verdict = 0
    for seed in range(20):
        estimates = measured(sides, {"first": BASELINE, "second": BASELINE}, seed=seed, seed_spread=0.01)
        with_verdict += len(compared(sides, estimates).with_verdict("undecided")) < 6
    assert with_verdict <= 2  # of 20, at 5 % each


def on_curves(l0_values: dict[str, list[float]], n_seeds: int = 3) -> tuple[list[Side], Estimates]:
    """Return two families with runs of these L0; 1 − explained variance is a power of L0, nsae's a tenth less."""
    runs = [run for name in ("baseline", "nsae") for run in family(name, n_seeds, l0_values[name])]
    rng, estimates = np.random.default_rng(0), Estimates()
    shares = np.full(DOCUMENTS, 1 / DOCUMENTS)
    for run in runs:
        rest = 0.8 * run.l1**-0.4 * (0.9 if run.variant == "nsae" else 1.0)
        for hook in HOOKS:
            noise = 1 + 0.01 * rng.normal(size=DOCUMENTS)
            estimates[key_of(run, hook, "explained_variance")] = mean_over_documents(1 - rest * noise, shares)
            estimates[key_of(run, hook, "l0")] = mean_over_documents(np.full(DOCUMENTS, run.l1), shares)
    return find_sides(runs, [Path("runs")]), estimates


def test_runs_of_other_l0_are_interpolated_on_their_own_curves() -> None:
    sides, estimates = on_curves({"baseline": [20.0, 35.0, 60.0], "nsae": [25.0, 47.0, 90.0]})
    comparison = compared(sides, estimates, measure="explained_variance")
    difference = comparison.differences[HOOKS[0]]
    assert difference.value == pytest.approx(0.08 * 40**-0.4, abs=difference.half_width())
    assert comparison.with_verdict("higher") == HOOKS
    assert "nsae explains 0.018" in verdict_text(comparison)
    assert difference.interpolation_error > 0
    assert difference.leave_one_out_error > 0


def test_a_replicas_value_and_replicates_are_those_of_its_curve() -> None:
    sides, estimates = on_curves({"baseline": [20.0, 35.0, 60.0], "nsae": [40.0, 41.0]})
    matched = match(estimates, estimates, sides[0], HOOKS[2], "explained_variance", 40)
    for (_, seed), estimate in matched.estimates.items():
        runs = [configuration.replicas[seed] for configuration in sides[0].configurations]
        l0, y = ([estimates[key_of(run, HOOKS[2], m)].value for run in runs] for m in ("l0", "explained_variance"))
        left = bracket(np.array(l0), 40)
        assert estimate.value == pytest.approx(
            float(interpolate(np.array(l0), np.array(y), 40, Scale.LOG_OF_REST, left))
        )
        assert estimate.replicates.mean() == pytest.approx(estimate.value, abs=1e-4)


def test_a_run_at_the_l0_is_taken_as_it_is_and_compared_with_a_curve() -> None:
    sides, estimates = on_curves({"baseline": [20.0, 35.0, 60.0], "nsae": [40.7]})
    matched = match(estimates, estimates, sides[1], HOOKS[0], "explained_variance", 40)
    assert matched.interpolation_error == matched.leave_one_out_error == 0
    comparison = compared(sides, estimates, measure="explained_variance")
    assert comparison.with_verdict("higher") == HOOKS


def test_a_run_near_the_l0_is_moved_there_and_all_of_its_way_widens_the_interval() -> None:
    sides, estimates = on_curves({"baseline": [20.0, 43.0], "nsae": [37.0, 80.0]})
    matched = match(estimates, estimates, sides[0], HOOKS[0], "explained_variance", 40)
    (runs,) = [
        point.replicas
        for point in sides[0].configurations
        if estimates[key_of(point.replicas[0], HOOKS[0], "l0")].value > 40
    ]
    before = np.mean([estimates[key_of(run, HOOKS[0], "explained_variance")].value for run in runs])
    after = np.mean([estimate.value for estimate in matched.estimates.values()])
    assert matched.interpolation_error == pytest.approx(before - after)
    assert before > after
    comparison = compared(sides, estimates, measure="explained_variance")
    difference = comparison.differences[HOOKS[0]]
    assert difference.value == pytest.approx(0.08 * 40**-0.4, abs=difference.half_width())
    assert difference.half_width() > difference.interpolation_error > matched.interpolation_error


def test_a_run_that_is_farther_than_ten_percent_from_the_l0_is_not_moved() -> None:
    sides, estimates = on_curves({"baseline": [20.0, 45.0], "nsae": [40.0]})
    with pytest.raises(NotComparedError, match="the nearest has 45"):
        match(estimates, estimates, sides[0], HOOKS[0], "explained_variance", 40)


def test_a_wide_bracket_is_refused_with_the_reason() -> None:
    sides, estimates = on_curves({"baseline": [10.0, 25.0, 60.0], "nsae": [40.0]})
    with pytest.raises(NotComparedError, match="25 and 60, are more than a factor of 2 apart"):
        match(estimates, estimates, sides[0], HOOKS[0], "explained_variance", 40)
    comparison = compared(sides, estimates, measure="explained_variance")
    assert (
        "are not compared: layers 0, 1, 2, 3, 4, 5: no run of baseline has this L0 (the nearest has 60)"
        in verdict_text(comparison)
    )
    assert {line.verdict for line in comparison.rows()} == {"not compared"}
    assert verdict_row(comparison).value is None


def test_a_difference_below_twice_the_leave_one_out_error_is_undecided() -> None:
    sides, estimates = on_curves({"baseline": [20.0, 35.0, 60.0], "nsae": [25.0, 47.0, 90.0]})
    for key, estimate in list(estimates.items()):
        if key.measure == "explained_variance" and "35" in key.run:  # a kink
            estimates[key] = replace(estimate, value=estimate.value - 0.05, replicates=estimate.replicates - 0.05)
    comparison = compared(sides, estimates, measure="explained_variance")
    assert "leave-one-out error" in comparison.undecidable[HOOKS[0]]
    assert comparison.with_verdict("undecided") == HOOKS


def test_all_pairs_at_once_are_compared_as_each_pair_is() -> None:
    sides = [*two_families(3), Side("second", configurations(family("nsae", 3, folder="second")))]
    estimates = measured(sides, {"baseline": BASELINE, "nsae": [0.08] * 6, "second": [0.05] * 6})
    at_once = compare(matching_of(sides, estimates, "nats_lost"), COMPARED, [40], [], "document")
    assert [(comparison.first, comparison.second) for comparison in at_once] == [
        ("baseline", "nsae"), ("baseline", "second"), ("nsae", "second"),
    ]  # fmt: skip
    for comparison, pair in zip(at_once, combinations(sides, 2), strict=True):
        assert vars(verdict_row(comparison)) == vars(verdict_row(compared(pair, estimates)))


def test_sides_without_a_common_seed_are_paired_in_order() -> None:
    sides = two_families(3)
    moved = [replaced_seed(run, run.settings.run.seed + 7) for run in sides[1].runs]
    others = [sides[0], Side("nsae", configurations(moved))]
    true = {"baseline": BASELINE, "nsae": [0.08] * 6}
    first, second = (compared(both, measured(both, true)).differences[HOOKS[0]] for both in (sides, others))
    assert second.values.tolist() == first.values.tolist()
