"""Distributions of the norms of a store's activations, by layer (Figs. 3 and 4 of the post).

They come from the statistics in the store (data/store/stats.py), so no row is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from analyze.statistics.jackknife import Float
from analyze.tables import markdown, short
from data.store import stats
from data.store.layout import Split
from data.store.reader import Store
from data.store.stats import Subset

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Norms:
    """The statistics of a split by hook, and the name of the model."""

    model: str
    by_hook: dict[str, stats.NormStats]

    @classmethod
    def of(cls, store: Store, split: Split = "train") -> Norms:
        return cls(store.model_name, {hook: store.statistics(hook, split) for hook in store.hooks})


@dataclass(frozen=True)
class NormRow:
    """‖x‖₂ of the rows at a hook and subset of positions: mean, variance, and quantiles from `norm_quantiles`.

    q05 … q95: the quantiles of QUANTILES. largest_entry: the largest |entry| of x.
    """

    model: str
    hook: str
    subset: Subset
    rows: int
    mean: float
    variance: float
    q05: float
    q25: float
    q50: float
    q75: float
    q95: float
    largest_entry: float


def norm_rows(norms: Norms) -> list[NormRow]:
    """Return one row per hook and subset."""
    rows = []
    for (hook, norm_stats), subset in product(norms.by_hook.items(), Subset):
        q05, q25, q50, q75, q95 = norm_quantiles(norm_stats, subset, QUANTILES)
        rows.append(NormRow(
            norms.model, hook, subset, norm_stats.count(subset), norm_stats.mean_norm(subset),
            norm_stats.norm_variance(subset), q05, q25, q50, q75, q95, norm_stats.largest(subset),
        ))  # fmt: skip
    return rows


@dataclass(frozen=True)
class NormBinRow:
    """The count of rows whose norm is from `low` to `high`."""

    model: str
    hook: str
    subset: Subset
    low: float
    high: float
    rows: int


def norm_bin_rows(norms: Norms) -> list[NormBinRow]:
    """Return one row per hook, subset and bin that has rows."""
    edges = np.concatenate([[0.0], stats.bin_edges(), [np.inf]])
    return [
        NormBinRow(norms.model, hook, subset, float(edges[i]), float(edges[i + 1]), int(counts[i]))
        for hook, norm_stats in norms.by_hook.items()
        for subset in Subset
        for counts in [norm_stats.histogram[subset.axis_index]]
        for i in np.flatnonzero(counts)
    ]


def norm_quantiles(norm_stats: stats.NormStats, subset: Subset, quantiles: Sequence[float]) -> Float:
    """Return quantiles of ‖x‖₂: float64 [quantiles], increasing; NaN without rows.

    The histogram gives the count of norms per bin. Within a bin, norms are spread as in the log-normal distribution
    with the norms' exact mean and variance. The norms at position 0, which are often outliers, have a log-normal of
    their own. The error is under 1 % for smooth distributions, and under 4.4 %, the error of the bin's middle, for
    distributions with a jump or two peaks.
    """
    whole, without_first = Subset.ALL.axis_index, Subset.WITHOUT_FIRST.axis_index
    rest = _Norms.of(norm_stats.histogram[without_first], norm_stats.norms[without_first])
    first = _Norms.of(
        norm_stats.histogram[whole] - norm_stats.histogram[without_first],
        norm_stats.norms[whole] - norm_stats.norms[without_first],
    )
    parts = [rest] if subset == Subset.WITHOUT_FIRST else [rest, first]
    counts = np.sum([part.counts for part in parts], axis=0)
    if not counts.sum():
        return np.full(len(quantiles), np.nan)
    used = np.flatnonzero(counts)
    grid = _grid(used)
    below = (np.cumsum(counts) - counts)[used, None] + sum(part.within(used, grid) for part in parts)
    return np.interp(np.asarray(quantiles) * counts.sum(), below.ravel(), grid.ravel())


GRID = 65  # norms per bin: 0.14 % apart


def _grid(bins: NDArray[np.int64]) -> Float:
    """Return norms from each bin's lower to its upper edge, evenly spaced in the logarithm: float64 [bins, GRID].

    In the lowest bin (below 2^-16) they are evenly spaced from 0. In the highest (2^20 and above), which has no upper
    edge, all are its lower edge.
    """
    edges = stats.bin_edges()
    low, high = np.concatenate([[0.0], edges])[bins, None], np.append(edges, edges[-1])[bins, None]
    share = np.linspace(0, 1, GRID)
    return np.where(low > 0, np.maximum(low, edges[0]) * (high / np.maximum(low, edges[0])) ** share, high * share)


@dataclass(frozen=True)
class _Norms:
    """Norms with a log-normal distribution within each bin.

    counts: int64 [N_BINS], the histogram. centre, spread: mean and standard deviation of the normal log ‖x‖₂.
    """

    counts: NDArray[np.int64]
    centre: float
    spread: float

    @classmethod
    def of(cls, counts: NDArray[np.int64], norms: Float) -> _Norms:
        """Fit the log-normal. norms: float64 [4], as in `stats.NormStats`."""
        if not (norms[[stats.NORM_SUM, stats.NORM_SQUARE_SUM]] > 0).all():
            return cls(counts, 0.0, 1.0)  # no rows, or rows of zeros
        mean, mean_square = norms[[stats.NORM_SUM, stats.NORM_SQUARE_SUM]] / norms[stats.COUNT]
        variance = max(float(np.log(mean_square) - 2 * np.log(mean)), NARROWEST**2)
        return cls(counts, float(np.log(mean)) - variance / 2, variance**0.5)

    def within(self, bins: NDArray[np.int64], grid: Float) -> Float:
        """Return how many norms of each bin lie below each point of its `grid`: float64 [bins, GRID]."""
        with np.errstate(divide="ignore"):
            z = (np.log(grid) - self.centre) / self.spread
        probability = ndtr(np.where(z[:, :1] > 0, -z, z))  # the upper tail, where the lower tail is nearly 1
        below = np.abs(probability - probability[:, :1])
        in_bin = below[:, -1:]
        even = np.broadcast_to(np.linspace(0, 1, GRID), grid.shape)  # used where the log-normal has almost no mass
        share = np.divide(below, in_bin, out=even.copy(), where=in_bin > RAREST)
        return np.asarray(self.counts[bins, None] * np.maximum.accumulate(share, axis=1))


NARROWEST = 1e-5  # smallest standard deviation of a log-normal
RAREST = 1e-12  # a bin of smaller probability is taken as uniform


def as_table(rows: Sequence[NormRow]) -> str:
    """Return a Markdown table with a row per hook, for all positions and without position 0."""
    lines = [
        [
            row.model, row.hook, row.subset, f"{row.rows:,}",
            *map(short, (
                row.mean, row.variance, row.q05, row.q25, row.q50, row.q75, row.q95, row.largest_entry,
            )),
        ]
        for row in rows
    ]  # fmt: skip
    quantiles = [f"q{round(100 * q):02}" for q in QUANTILES]
    heads = ["model", "hook", "positions", "rows", "mean ‖x‖₂", "its variance", *quantiles, "largest |entry|"]
    return markdown(heads, lines)
