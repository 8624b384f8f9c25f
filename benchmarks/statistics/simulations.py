"""Simulated data with known truth, and the intervals that the simulations compare with the project's.

Documents have the lengths of text from the web: lognormal with a median of 400 tokens, so a tenth of the documents has
half of the tokens. Statistics are ratios of sums over documents, as all measures are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analyze.statistics import jackknife
from analyze.statistics.jackknife import Float

Row = dict[str, Any]
MEDIAN_TOKENS, LOG_SPREAD, SHORTEST = 400, 1.1, 16
CAPPED = 512  # tokens
RESAMPLES = 1000


def lengths(rng: np.random.Generator, shape: tuple[int, ...], longest: int | None) -> Float:
    """Draw documents' lengths in tokens."""
    tokens = np.maximum(np.round(rng.lognormal(np.log(MEDIAN_TOKENS), LOG_SPREAD, shape)), SHORTEST)
    return tokens if longest is None else np.minimum(tokens, longest)


@dataclass(frozen=True)
class Documents:
    """Repetitions of one experiment: documents' lengths [repeats, documents] and values [repeats, …, documents]."""

    tokens: Float
    values: Float

    @property
    def shares(self) -> Float:
        return self.tokens / self.tokens.sum(axis=-1, keepdims=True)

    def _weighted(self) -> tuple[Float, Float]:
        tokens = self.tokens.reshape(len(self.tokens), *[1] * (self.values.ndim - 2), -1)
        return tokens, tokens * self.values

    def statistic(self) -> Float:
        """Return the mean over tokens, [repeats, …]."""
        tokens, sums = self._weighted()
        return np.asarray(sums.sum(axis=-1) / tokens.sum(axis=-1))

    def without_each(self) -> Float:
        """Return the mean over tokens without each document, [repeats, …, documents]."""
        tokens, sums = self._weighted()
        return (sums.sum(axis=-1, keepdims=True) - sums) / (tokens.sum(axis=-1, keepdims=True) - tokens)

    def resampled(self, rng: np.random.Generator) -> Float:
        """Return the mean over tokens of each bootstrap resample, [resamples, repeats, …]."""
        n = self.tokens.shape[-1]
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
        tokens, sums = self._weighted()
        return np.asarray(np.tensordot(drawn, sums, (1, -1)) / np.tensordot(drawn, tokens, (1, -1)))


def percentile_covers(resampled: Float, truth: float) -> float:
    """Return the share of repetitions whose bootstrap's percentile interval covers the truth."""
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return float(np.mean((low <= truth) & (truth <= high)))


def half_widths(documents: Documents, degrees: Callable[[Float], float]) -> Float:
    """Return the jackknife's half-width of each repetition, with degrees of freedom from its shares."""
    errors = jackknife.standard_error(np.moveaxis(documents.without_each(), -1, 0))
    return np.array([jackknife.critical_value(degrees(h)) for h in documents.shares]) * errors


def ar1(rng: np.random.Generator, correlation: float, repeats: int, layers: int) -> Float:
    """Draw series over layers, [repeats, layers], of variance 1, whose neighbours have a correlation."""
    distance = np.abs(np.subtract.outer(np.arange(layers), np.arange(layers)))
    return rng.normal(size=(repeats, layers)) @ np.linalg.cholesky(correlation**distance).T


def rest_curve(rng: np.random.Generator) -> Callable[[Float], Float]:
    """Draw a curve 1 − explained variance over L0: a power law above a floor, whose exponent drifts."""
    floor, exponent, drift = rng.uniform(0.005, 0.03), rng.uniform(0.4, 0.9), rng.uniform(-0.08, 0.08)

    def rest(l0: Float) -> Float:
        log = np.log(l0 / 40)
        return np.asarray(floor + 0.2 * np.exp(-exponent * log - drift * log**2))

    return rest


def family(rng: np.random.Generator, rest: Callable[[Float], Float], gap: float) -> tuple[Float, Float, Float]:
    """Return the L0 of five runs, their explained variance, and the values without each of 40 equal documents."""
    l0 = 40 * gap ** (rng.uniform(-1, 0) + np.arange(-1.0, 4.0))
    noise = 0.02 * rng.normal(size=(40, 1)) + 0.005 * rng.normal(size=(40, 5))
    without = (noise.sum(axis=0) - noise) / 39
    return l0, 1 - rest(l0) * (1 + noise.mean(axis=0)), 1 - rest(l0) * (1 + without)
