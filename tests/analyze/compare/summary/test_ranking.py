"""The rule of the ranking: its p-values against SciPy's, and how often identical architectures are told apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from analyze.compare.equal_l0.difference import Difference
from analyze.compare.equal_l0.matched import Matched, MatchedSide
from analyze.compare.equal_l0.mean import mean_of_differences
from analyze.compare.summary.planning import plan
from analyze.compare.summary.ranking import decidable, mean_differences, p_value, rank
from analyze.statistics.estimates import Estimate
from analyze.statistics.layer_mean import LayerMean
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


@pytest.mark.parametrize(
    ("n_sides", "seeds", "spread"),
    [
        (5, 3, [0.2]),
        (5, 1, [0.0]),
        (3, 2, [0.2] * 3),
        (9, 3, [4.0] + [0.2] * 5),
        (9, 2, [4.0] + [0.2] * 5),
        (9, 3, [2.0, 1.0, 0.4, 0.2, 0.2, 0.1]),
    ],
    ids=lambda value: f"{len(value)} layers up to {max(value)}" if isinstance(value, list) else str(value),
)
def test_identical_architectures_are_told_apart_in_at_most_5_percent_of_experiments(
    n_sides: int, seeds: int, spread: list[float]
) -> None:
    rng, repeats = np.random.default_rng(0), 100
    of_layers, wrong = np.array(spread)[:, None, None], 0
    for _ in range(repeats):
        of_seeds = of_layers * rng.normal(size=(n_sides, len(spread), seeds, 1))
        wrong += is_wrong(of_seeds + 0.1 * rng.normal(size=(n_sides, len(spread), seeds, DOCUMENTS)))
    assert wrong <= stats.binom.ppf(0.995, repeats, 0.05)


def test_layers_that_share_documents_tell_identical_saes_apart_in_at_most_5_percent() -> None:
    rng, repeats = np.random.default_rng(1), 80
    wrong = 0
    for _ in range(repeats):  # one seed; all layers have the same error, so four layers are no more evidence than one
        errors = rng.normal(size=(4, 1, 1, DOCUMENTS))
        wrong += is_wrong(np.broadcast_to(errors, (4, 4, 1, DOCUMENTS)))
    assert wrong <= stats.binom.ppf(0.995, repeats, 0.05)


def test_six_layers_of_three_seeds_find_differences_of_three_standard_deviations_of_a_seed() -> None:
    rng = np.random.default_rng(0)
    true = 0.01 * np.arange(8)[:, None, None, None]  # 28 pairs; each is 0.01 worse than the one before
    values = true + 0.01 / 3 * rng.normal(size=(8, 6, 3, 1)) + 0.001 * rng.normal(size=(8, 6, 3, DOCUMENTS))
    ranking = rank(sides_of(values), layers_of(values), {})
    assert ranking is not None
    assert ranking.best == "side 0"
    assert len(ranking.tied) <= 1


def test_means_are_compared_although_half_of_the_layers_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    values = 0.001 * rng.normal(size=(2, 4, 3, DOCUMENTS))
    values[1, :2] += 1.0
    ranking = rank(sides_of(values), layers_of(values), {})
    assert ranking is not None
    assert ranking.tied == []
    excess = ranking.excess["side 1"]
    assert excess is not None
    assert excess.value == pytest.approx(0.5, abs=0.001)


def test_what_has_the_best_mean_by_one_uncertain_layer_is_tied_with_what_is_better_elsewhere() -> None:
    rng = np.random.default_rng(0)
    values = 0.001 * rng.normal(size=(2, 4, 3, DOCUMENTS))
    values[:, 0] += 10.0 * rng.normal(size=(2, 3, 1))
    values[0, 0] -= 20.0 + values[0, 0].mean()
    values[1, 1:] -= 1.0
    ranking = rank(sides_of(values), layers_of(values), {})
    assert ranking is not None
    assert ranking.best == "side 0"
    assert ranking.tied == ["side 1"]


def test_exact_equal_shares_are_tied_and_others_are_worse() -> None:
    values = np.zeros((3, 2, 3, DOCUMENTS))
    values[2] = 0.5
    ranking = rank(sides_of(values), layers_of(values), {})
    assert ranking is not None
    assert ranking.best == "side 0"
    assert ranking.tied == ["side 1"]


def test_the_p_value_over_documents_is_that_of_a_paired_t_test_of_the_means_over_layers() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 6, 1, DOCUMENTS)) + rng.normal(size=(1, 1, 1, DOCUMENTS))
    values[1] += 0.2
    first, second = (side.by_hook for side in sides_of(values))
    gaps, _ = decidable(first, second, layers_of(values), {})
    mean = mean_differences({("side 0", "side 1"): gaps}, 6)["side 0", "side 1"]
    assert mean is not None
    of_documents = values.mean(axis=(1, 2))
    assert p_value(mean) == pytest.approx(stats.ttest_rel(of_documents[1], of_documents[0]).pvalue, rel=1e-6)


def test_degrees_of_freedom_are_at_most_those_of_layers_that_vary_as_all_pairs_do() -> None:
    def of_spreads(spreads: list[float]) -> dict[str, Difference]:
        return {f"layer {j}": gap(1.0, spread, np.random.default_rng(j)) for j, spread in enumerate(spreads)}

    gaps = {("a", "b"): of_spreads([0.1, 0.1]), ("a", "c"): of_spreads([20.0, 0.1])}
    alone = mean_differences({("a", "b"): gaps["a", "b"]}, 2)["a", "b"]
    with_others = mean_differences(gaps, 2)["a", "b"]
    assert alone is not None
    assert with_others is not None
    assert alone.variances.seed_degrees == pytest.approx(4)  # two layers of two degrees each
    assert with_others.variances.seed_degrees == pytest.approx(2, abs=0.01)  # one layer has nearly all the variance


def gap(value: float, spread: float, rng: np.random.Generator, seeds: int = 3) -> Difference:
    values = value + spread * np.linspace(-1, 1, seeds)
    replicates = values[:, None] + 0.001 * rng.normal(size=(seeds, DOCUMENTS)) / DOCUMENTS
    return Difference(0.0, value, values, replicates, SHARES)


def test_pairs_of_which_not_most_layers_may_be_decided_have_no_mean() -> None:
    gaps = {f"layer {j}": gap(1.0, 0.001, np.random.default_rng(j)) for j in range(3)}
    pair = ("a", "b")
    known = mean_differences({pair: gaps}, 5)[pair]
    assert known is not None
    assert p_value(known) < 1e-4
    assert mean_differences({pair: gaps}, 6)[pair] is None  # three are not most of six


def test_a_plan_has_more_seeds_for_a_smaller_difference_and_none_is_made_for_one_seed() -> None:
    def mean_of(value: float, seeds: int = 3) -> LayerMean:
        return mean_of_differences([gap(value, 0.01, np.random.default_rng(j), seeds) for j in range(6)])

    plans = [plan(mean_of(value), DOCUMENTS, 28) for value in (0.05, 0.01, 0.0001)]
    assert plans[0] is not None
    assert plans[1] is not None
    assert plans[2] is None
    assert 3 <= plans[0].seeds < plans[1].seeds
    assert plan(mean_of(0.05, seeds=1), DOCUMENTS, 1) is None


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
