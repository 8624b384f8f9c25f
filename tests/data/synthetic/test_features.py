"""Synthetic features: the frequencies, correlations and hierarchy of what is drawn are those that are stated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from data import InputError, SyntheticFeatures
from data.synthetic.features import SYNTHETIC_16K
from data.synthetic.source import draw_activations, draw_firings

FEATURES = SyntheticFeatures(n_features=60, n_roots=3, n_children=3, depth=2, rank=2, shared_variance=0.6, p_max=0.4)
ROWS = 60_000


@pytest.fixture(scope="module")
def fires() -> np.ndarray:
    """Return the features that fire, bool [ROWS, 60]."""
    drawn = draw_firings(FEATURES, ROWS, np.random.default_rng(1))
    dense = np.zeros((ROWS, 60), dtype=bool)
    dense[drawn.row, drawn.feature] = True
    assert dense.sum() == len(drawn.row)
    assert drawn.offsets(ROWS).tolist()[::20_000] == np.append(0, dense.sum(axis=1).cumsum()).tolist()[::20_000]
    return dense


def test_features_fire_as_often_as_stated(fires: np.ndarray) -> None:
    p = FEATURES.probabilities
    assert np.abs(fires.mean(axis=0) - p).max() < 4.5 * np.sqrt(p / ROWS).max()
    assert fires.sum(axis=1).mean() == pytest.approx(FEATURES.l0, rel=0.02)


def test_free_features_have_a_heavy_tail() -> None:
    p = SYNTHETIC_16K.probabilities[: SYNTHETIC_16K.n_free]
    assert p[99] / p[9] == pytest.approx(10**-0.65, rel=0.05)
    assert p.min() >= SYNTHETIC_16K.p_min


def parents_of(features: SyntheticFeatures) -> dict[int, int]:
    """Child → parent, made from the definition: roots' children first, level by level."""
    level, child, parents = list(range(features.n_roots)), features.n_free, {}
    for _ in range(features.depth):
        born = []
        for parent in level:
            for _ in range(features.n_children):
                parents[child] = parent
                born.append(child)
                child += 1
        level = born
    assert child == features.n_features
    return parents


def test_children_fire_only_with_their_parent_and_without_siblings(fires: np.ndarray) -> None:
    parents = parents_of(FEATURES)
    assert len(parents) == 3 * (3 + 9)
    for child, parent in parents.items():
        assert not (fires[:, child] & ~fires[:, parent]).any()
        siblings = [other for other in parents if parents[other] == parent and other != child]
        assert not (fires[:, [child]] & fires[:, siblings]).any()
        assert fires[:, child].any()


def test_probabilities_of_children_follow_from_their_parents() -> None:
    weights = np.array([1, 2, 3]) ** -FEATURES.exponent
    for child, parent in parents_of(FEATURES).items():
        share = FEATURES.child_share * weights[(child - FEATURES.n_free) % 3] / weights.sum()
        assert FEATURES.probabilities[child] == pytest.approx(FEATURES.probabilities[parent] * share)


def test_free_features_fire_together_as_the_copula_says(fires: np.ndarray) -> None:
    w = FEATURES.factors.double().numpy()
    thresholds = norm.ppf(FEATURES.probabilities[:6])
    for i, j in ((0, 1), (0, 4), (2, 5)):
        rho = FEATURES.shared_variance * w[i] @ w[j]
        both = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf(thresholds[[i, j]])
        assert (fires[:, i] & fires[:, j]).mean() == pytest.approx(both, abs=4.5 * np.sqrt(both / ROWS))
        assert abs(both - FEATURES.probabilities[i] * FEATURES.probabilities[j]) > 3 * np.sqrt(both / ROWS)


def test_activations_are_sums_of_directions_with_positive_amounts() -> None:
    rng = np.random.default_rng(0)
    wide = SyntheticFeatures(n_features=20, d_model=40, n_roots=2, depth=1, amount_spread=0.3, offset=2.0)
    firings = draw_firings(wide, 500, rng)
    x = draw_activations(wide, firings, 500, rng).double().numpy()
    amounts = np.linalg.lstsq(wide.directions.double().numpy().T, (x - wide.constant.double().numpy()).T, rcond=None)[0]
    dense = np.zeros((500, 20), dtype=bool)
    dense[firings.row, firings.feature] = True
    assert np.allclose(amounts.T[~dense], 0, atol=1e-5)
    assert amounts.T[dense].min() > 0.2
    assert amounts.T[dense].mean() == pytest.approx(1, abs=0.03)
    assert np.log(amounts.T[dense]).std() == pytest.approx(0.3, abs=0.03)
    assert np.linalg.norm(wide.constant) == pytest.approx(2)


def test_synthetic_noise_has_the_norm_that_is_set() -> None:
    noisy = SyntheticFeatures(p_max=0, p_min=0, offset=0, noise=3.0)
    rng = np.random.default_rng(0)
    x = draw_activations(noisy, draw_firings(noisy, 4096, rng), 4096, rng)
    assert x.square().sum(dim=1).mean().sqrt() == pytest.approx(3, rel=0.02)


def test_the_16k_case_has_the_size_of_synthsaebench() -> None:
    assert (SYNTHETIC_16K.n_features, SYNTHETIC_16K.d_model) == (16_384, 768)
    assert SYNTHETIC_16K.n_features - SYNTHETIC_16K.n_free == 128 * (4 + 16 + 64)
    assert SYNTHETIC_16K.l0 == pytest.approx(33, abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_features": 20}, "8 trees have 48 children"),
        ({"p_max": 1.5}, "p_max 1.5: give a number from 0 to 1"),
        ({"rank": 0}, "rank 0: give at least 1"),
        ({"noise": -1.0}, "noise -1.0: give 0 or more"),
    ],
)
def test_impossible_features_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SyntheticFeatures(**options)
