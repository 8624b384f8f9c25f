"""The mean over layers: against a t-interval of exact values, and against the mean of paired single runs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import stdtrit

from analyze.statistics.estimates import Estimate, mean_of, over_replicas
from analyze.statistics.layer_mean import mean_over_layers

DOCUMENTS = 30
SHARES = np.full(DOCUMENTS, 1 / DOCUMENTS)


def of_documents(values: NDArray[np.float64]) -> Estimate:
    return Estimate(float(values.mean()), (values.sum() - values) / (DOCUMENTS - 1), SHARES)


def test_interval_of_exact_values_has_the_sum_of_the_layers_variances_over_seeds() -> None:
    values = np.array([[1.0, 1.4], [5.0, 5.2], [9.1, 9.0]])  # layers, seeds
    mean = mean_over_layers([over_replicas([Estimate(value) for value in of_layer]) for of_layer in values])
    of_layers = values.var(axis=1, ddof=1)
    degrees = of_layers.sum() ** 2 / (of_layers**2).sum()
    half_width = stdtrit(degrees, 0.975) * np.sqrt(of_layers.sum() / 3**2 / 2)
    assert mean.value == pytest.approx(values.mean())
    assert mean.interval() == pytest.approx((values.mean() - half_width, values.mean() + half_width))
    assert (mean.n_layers, mean.n_seeds) == (3, 2)


def test_interval_of_single_runs_is_that_of_the_paired_mean() -> None:
    documents = np.random.default_rng(0).normal(size=DOCUMENTS)
    layers = [of_documents(documents + layer) for layer in range(4)]
    paired = mean_of(layers)
    assert paired is not None
    assert mean_over_layers(layers).interval() == pytest.approx(paired.interval)


def test_interval_over_seeds_and_documents_covers_the_true_mean_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(1), 0
    for _ in range(400):
        documents = rng.normal(size=DOCUMENTS)
        layers = [
            over_replicas([
                of_documents(layer + 0.3 * documents + 0.2 * rng.normal() + 0.3 * rng.normal(size=DOCUMENTS))
                for _ in range(2)
            ])
            for layer in range(3)
        ]  # fmt: skip
        low, high = mean_over_layers(layers).interval()
        covered += low <= 1.0 <= high
    assert 0.92 <= covered / 400 <= 0.99


def test_layers_of_different_seeds_or_documents_have_no_mean() -> None:
    single = of_documents(np.arange(DOCUMENTS, dtype=np.float64))
    for other in (over_replicas([single, single]), Estimate(1.0, np.zeros(2), np.array([0.3, 0.7]))):
        with pytest.raises(ValueError, match="different groups or replicas"):
            mean_over_layers([single, other])
