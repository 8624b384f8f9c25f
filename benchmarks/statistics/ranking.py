"""The share of right rankings with ties, on simulated architectures of which none, or one, is better."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from analyze.compare.equal_l0.comparison import SIGNIFICANCE
from analyze.compare.equal_l0.matched import Matched, MatchedSide
from analyze.compare.equal_l0.mean import mean_of_differences
from analyze.compare.summary.ranking import Ranking, decidable, p_value, rank
from analyze.statistics.cells import holm
from analyze.statistics.estimates import Estimate
from analyze.statistics.jackknife import Float
from benchmarks.statistics.simulations import CAPPED, Documents, Row, lengths

CASES = (  # architectures, layers, seeds, spread over seeds of the first layer over that of the others
    (3, 1, 3, 1), (9, 1, 1, 1), (9, 1, 3, 1), (9, 6, 1, 1), (9, 6, 2, 1), (9, 6, 3, 1), (9, 6, 5, 1),
    (9, 6, 2, 20), (9, 6, 3, 5), (9, 6, 3, 20), (9, 6, 5, 20),
)  # fmt: skip
SEED_SPREAD = 0.3  # of the spread over documents
DOCUMENTS = 40


def ranking(rng: np.random.Generator, repeats: int) -> list[Row]:
    """Count how often identical architectures are told apart, and how many others are called worse than a better one.

    With one seed there is no spread over seeds: identical architectures are then identical SAEs.
    """
    rows = []
    start, n = rng.bit_generator.state, max(4, repeats // 20)
    for case in CASES:
        rng.bit_generator.state = start  # each case alone gives the same numbers
        architectures, layers, n_seeds, largest = case
        drawn = [_sides(rng, *case, 0) for _ in range(n)]
        alike = [_ranked(sides) for sides in drawn]
        row: Row = {
            "architectures": architectures, "layers": layers, "seeds": n_seeds, "largest spread": largest,
            "identical ones told apart": float(np.mean([len(one.tied) < architectures - 1 for one in alike])),
            "corrected for pairs with the best": float(np.mean([_told_apart_by_fewer_pairs(one) for one in alike])),
            "own degrees of freedom": float(np.mean([*map(_told_apart_by_own_degrees, drawn, alike)])),
        }  # fmt: skip
        for gain in (1, 3, 10):
            tied = [len(_ranked(_sides(rng, *case, gain)).tied) for _ in range(n // 4)]
            row[f"called worse at {gain} spreads"] = 1 - float(np.mean(tied)) / (architectures - 1)
        rows.append(row)
    return rows


def _told_apart_by_fewer_pairs(ranked: Ranking) -> bool:
    """Return whether one is called worse if only the pairs with the best are corrected for."""
    smallest = min(p_value(excess) for excess in ranked.excess.values() if excess is not None)
    return smallest * (len(ranked.costs) - 1) <= SIGNIFICANCE


def _told_apart_by_own_degrees(sides: Sequence[MatchedSide], ranked: Ranking) -> bool:
    """Return whether one is called worse than the best if each pair has the degrees of freedom of its own layers."""
    pairs = list(combinations(sides, 2))
    gaps = [decidable(a.by_hook, b.by_hook, list(a.by_hook), {})[0] for a, b in pairs]
    p = holm(np.array([p_value(mean_of_differences(list(of_pair.values()))) for of_pair in gaps]))
    return any(p[i] <= SIGNIFICANCE and ranked.best in (a.name, b.name) for i, (a, b) in enumerate(pairs))


def _ranked(sides: Sequence[MatchedSide]) -> Ranking:
    ranked = rank(sides, list(sides[0].by_hook), {})
    assert ranked is not None
    return ranked


def _sides(
    rng: np.random.Generator, architectures: int, layers: int, n_seeds: int, largest: float, gain: float
) -> list[MatchedSide]:
    """Return simulated architectures, the first of which is better by `gain` times SEED_SPREAD in each layer."""
    spread = np.full((layers, 1, 1), SEED_SPREAD if n_seeds > 1 else 0.0)
    spread[0] *= largest
    of_architectures = 0.2 * rng.normal(size=(architectures, 1, 1, DOCUMENTS))  # the same in all layers
    values = rng.normal(size=(1, layers, 1, DOCUMENTS)) + of_architectures
    values = values + spread * rng.normal(size=(architectures, layers, n_seeds, 1))
    values = values + 0.5 * rng.normal(size=(architectures, layers, n_seeds, DOCUMENTS))
    values[0] -= gain * SEED_SPREAD
    drawn = Documents(lengths(rng, (1, DOCUMENTS), CAPPED), values[None])
    means, without = drawn.statistic()[0], drawn.without_each()[0]
    hooks = [f"layer {j}" for j in range(layers)]
    return [
        MatchedSide(f"architecture {i}", "nats_lost", 40.0,
                    {hook: _matched(means[i, j], without[i, j], drawn.shares[0]) for j, hook in enumerate(hooks)}, {})
        for i in range(architectures)
    ]  # fmt: skip


def _matched(values: Float, without: Float, shares: Float) -> Matched:
    pairs = enumerate(zip(values, without, strict=True))
    return Matched({(0, seed): Estimate(float(value), replicates, shares) for seed, (value, replicates) in pairs}, [])
