"""The rule of the ranking: its p-values against SciPy's, and how often identical architectures are told apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from analyze.compare.equal_l0.difference import Difference
from analyze.compare.equal_l0.matched import Matched, MatchedSide
from analyze.compare.summary.dead import marks_of_dead
from analyze.compare.summary.planning import plan
from analyze.compare.summary.ranking import ByDocuments, combined_p, p_value, rank
from analyze.compare.summary.summary import NO_MARK
from analyze.statistics.estimates import Estimate
from tests.analyze.compare.summary.made_up import DOCUMENTS

SHARES = np.full(DOCUMENTS, 1 / DOCUMENTS)


def sides_of(values: np.ndarray) -> list[MatchedSide]:
    """Return sides from documents' values [sides, layers, seeds, documents]; lower is better."""
    without = (values.sum(axis=-1, keepdims=True) - values) / (values.shape[-1] - 1)
    return [
        MatchedSide(f"side {i}", "nats_lost", 40.0, {
            f"layer {j}": Matched({(0, s): Estimate(float(values[i, j, s].mean()), replicates, SHARES)
                                   for s, replicates in enumerate(seeds)}, [])
            for j, seeds in enumerate(of_side)
        }, {}) for i, of_side in enumerate(without)
    ]  # fmt: skip


def layers_of(values: np.ndarray) -> list[str]:
    return [f"layer {j}" for j in range(values.shape[1])]


def is_wrong(values: np.ndarray) -> bool:
    """Return whether one of the sides is called worse than the best."""
    ranking = rank(sides_of(values), layers_of(values), {})
    assert ranking is not None
    return len(ranking.tied) < len(values) - 1


@pytest.mark.parametrize(("n_sides", "layers", "seeds"), [(5, 1, 3), (5, 1, 1), (3, 3, 2)])
def test_identical_architectures_are_told_apart_in_at_most_5_percent_of_experiments(
    n_sides: int, layers: int, seeds: int
) -> None:
    rng, repeats = np.random.default_rng(0), 100
    wrong = 0
    for _ in range(repeats):
        of_seeds = 0.2 * rng.normal(size=(n_sides, layers, seeds, 1)) * (seeds > 1)
        wrong += is_wrong(of_seeds + rng.normal(size=(n_sides, layers, seeds, DOCUMENTS)))
    assert wrong <= stats.binom.ppf(0.995, repeats, 0.05)


def test_one_of_nine_equal_dead_shares_is_called_worse_in_about_11_percent_of_experiments() -> None:
    rng, repeats = np.random.default_rng(0), 200
    wrong = 0
    for _ in range(repeats):
        shares = np.broadcast_to(
            rng.normal(size=(9, 6, 3, 1)), (9, 6, 3, DOCUMENTS)
        )  # exact: the same in all documents
        wrong += NO_MARK in marks_of_dead(sides_of(shares), layers_of(shares)).values()
    assert abs(wrong - 0.11 * repeats) <= 3 * np.sqrt(0.11 * 0.89 * repeats)


def test_layers_that_share_documents_tell_identical_saes_apart_in_at_most_5_percent() -> None:
    rng, repeats = np.random.default_rng(1), 80
    wrong = 0
    for _ in range(repeats):  # one seed; all layers have the same error, so four layers are no more evidence than one
        errors = rng.normal(size=(4, 1, 1, DOCUMENTS))
        wrong += is_wrong(np.broadcast_to(errors, (4, 4, 1, DOCUMENTS)))
    assert wrong <= stats.binom.ppf(0.995, repeats, 0.05)


def test_six_layers_of_three_seeds_find_differences_of_six_standard_deviations_of_a_seed() -> None:
    rng = np.random.default_rng(0)
    true = 0.01 * np.arange(8)[:, None, None, None]  # 28 pairs; each is 0.01 worse than the one before
    values = true + 0.01 / 6 * rng.normal(size=(8, 6, 3, 1)) + 0.001 * rng.normal(size=(8, 6, 3, DOCUMENTS))
    ranking = rank(sides_of(values), layers_of(values), {})
    assert ranking is not None
    assert ranking.best == "side 0"
    assert len(ranking.tied) <= 1


def test_a_difference_in_half_of_the_layers_is_a_tie_although_the_mean_differs() -> None:
    rng = np.random.default_rng(0)
    values = 0.001 * rng.normal(size=(2, 4, 3, DOCUMENTS))
    values[1, :2] += 1.0
    ranking = rank(sides_of(values), layers_of(values), {})
    assert ranking is not None
    assert ranking.tied == ["side 1"]
    values[1, 2] += 1.0
    ranking = rank(sides_of(values), layers_of(values), {})
    assert ranking is not None
    assert ranking.tied == []


def test_an_architecture_that_is_better_in_most_layers_is_tied_with_one_that_has_the_best_mean() -> None:
    rng = np.random.default_rng(0)
    values = 0.001 * rng.normal(size=(3, 4, 3, DOCUMENTS))
    values[0, 0] -= 10.0  # side 0 has the best mean through one layer; side 1 is better in the other three
    values[1, 1:] -= 1.0
    values[2] += 1.0
    ranking = rank(sides_of(values), layers_of(values), {})
    assert ranking is not None
    assert ranking.best == "side 0"
    assert ranking.tied == ["side 1"]


def test_the_p_value_is_the_larger_of_fishers_over_seeds_and_that_of_documents() -> None:
    p = np.random.default_rng(0).uniform(0, 0.1, 6).tolist()
    fisher = stats.combine_pvalues(np.sort(p)[3:], "fisher").pvalue
    assert combined_p(p, fisher / 2, 4) == pytest.approx(fisher)
    assert combined_p(p, 0.9, 4) == pytest.approx(0.9)


def test_the_p_value_over_documents_is_that_of_the_three_layers_of_six_that_differ_least() -> None:
    rng = np.random.default_rng(0)
    values = 0.3 + rng.normal(size=(1, DOCUMENTS)) + 0.5 * rng.normal(size=(6, DOCUMENTS))
    without = (values.sum(axis=-1, keepdims=True) - values) / (DOCUMENTS - 1)
    gaps = [
        Difference(0.0, float(of_layer.mean()), np.array([of_layer.mean()]), replicates[None], SHARES)
        for of_layer, replicates in zip(values, without, strict=True)
    ]
    p = ByDocuments.of(gaps).p_value(values.mean(axis=1), 4)
    of_threes = [stats.ttest_1samp(values[list(three)].mean(axis=0), 0, alternative="greater").pvalue
                 for three in combinations(range(6), 3)]  # fmt: skip
    assert p == pytest.approx(max(of_threes), rel=1e-6)


def gap(value: float, spread: float, rng: np.random.Generator, seeds: int = 3) -> Difference:
    values = value + spread * np.linspace(-1, 1, seeds)
    replicates = values[:, None] + 0.001 * rng.normal(size=(seeds, DOCUMENTS)) / DOCUMENTS
    return Difference(0.0, value, values, replicates, SHARES)


def test_layers_that_decide_nothing_count_as_layers_without_a_difference() -> None:
    rng = np.random.default_rng(0)
    gaps = [gap(1.0, 0.001, rng) for _ in range(3)]
    assert p_value(gaps, 4)[0] < 1e-4
    assert p_value(gaps, 6)[0] == 1.0  # three are not most of six


def test_a_plan_has_more_seeds_for_a_smaller_difference_and_none_is_made_for_one_seed() -> None:
    plans = [
        plan([gap(value, 0.01, np.random.default_rng(i)) for i in range(6)], 6, 28) for value in (0.05, 0.02, 0.0001)
    ]
    assert plans[0] is not None
    assert plans[1] is not None
    assert plans[2] is None
    assert 3 <= plans[0].seeds < plans[1].seeds
    assert plan([gap(0.05, 0.01, np.random.default_rng(0), seeds=1)], 1, 1) is None


def test_all_pairs_are_corrected_for_and_not_only_those_with_the_best() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(3, 1, 1, DOCUMENTS))
    values[0] -= 0.8
    ranking = rank(sides_of(values), layers_of(values), {})
    assert ranking is not None
    raw = [stats.ttest_rel(values[i, 0, 0], values[j, 0, 0]).pvalue for i, j in combinations(range(3), 2)]
    best = int(np.argmin(values.mean(axis=(1, 2, 3))))
    first = min(range(3), key=lambda k: raw[k])
    pair = list(combinations(range(3), 2))[first]
    assert best in pair
    (other,) = set(pair) - {best}
    assert ranking.p_worse[f"side {other}"] == pytest.approx(3 * raw[first], rel=1e-6)
