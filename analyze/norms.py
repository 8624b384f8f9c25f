"""How the norms of a store's activations are distributed, by layer: the post's Figs. 3 and 4, from a store alone.

All is taken from the statistics that the store keeps (data/stats.py), so no row is read.

Not here: drawing (figures.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyze.bootstrap import Float
from analyze.measures import ALL, WITHOUT_FIRST
from analyze.tables import Row, markdown, short
from data import stats
from data.deal import Split
from data.reader import Store

SUBSETS = {ALL: stats.ALL, WITHOUT_FIRST: stats.WITHOUT_FIRST}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Norms:
    """A split's statistics by hook."""

    model: str
    by_hook: dict[str, stats.NormStats]

    @classmethod
    def of(cls, store: Store, split: Split = "train") -> Norms:
        return cls(store.provenance["model"]["name"], {hook: store.statistics(hook, split) for hook in store.hooks})


def norm_lines(norms: Norms) -> list[Row]:
    """One line for each hook and subset: rows, mean and variance of ‖x‖₂, quantiles, and the largest |entry|.

    Quantiles are read off a histogram of 8 bins per octave: see `histogram_quantiles`.
    """
    lines = []
    for hook, found in norms.by_hook.items():
        for name, subset in SUBSETS.items():
            quantiles = histogram_quantiles(found.histogram[subset], QUANTILES)
            lines.append({
                "model": norms.model, "hook": hook, "subset": name, "rows": found.count(subset),
                "mean": found.mean_norm(subset), "variance": found.norm_variance(subset),
                **{f"q{round(100 * q):02}": value for q, value in zip(QUANTILES, quantiles, strict=True)},
                "largest_entry": found.largest(subset),
            })  # fmt: skip
    return lines


def histogram_lines(norms: Norms) -> list[Row]:
    """One line for each bin that has rows: the norms from `low` to `high`, and how many rows have them."""
    edges = np.concatenate([[0.0], stats.bin_edges(), [np.inf]])
    return [
        {"model": norms.model, "hook": hook, "subset": name, "low": float(edges[i]), "high": float(edges[i + 1]),
         "rows": int(counts[i])}
        for hook, found in norms.by_hook.items()
        for name, subset in SUBSETS.items()
        for counts in [found.histogram[subset]]
        for i in np.flatnonzero(counts)
    ]  # fmt: skip


def histogram_quantiles(counts: np.ndarray, quantiles: Sequence[float]) -> Float:
    """Quantiles of norms from counts int64 [N_BINS]; NaN without rows.

    Within a bin, the logarithms of the norms are taken to be spread evenly. The lowest bin (below 2^-16) counts from 0
    and is linear; the highest (2^20 and above) has no upper edge and gives its lower one. The error is under 0.6 %
    where the norms' logarithms have a standard deviation of 0.3 or more, and at most the width of a bin (9 %).
    """
    if not counts.sum():
        return np.full(len(quantiles), np.nan)
    edges = stats.bin_edges()
    low, high = np.concatenate([[0.0], edges]), np.append(edges, edges[-1])
    total = np.cumsum(counts)
    rank = np.maximum(np.asarray(quantiles) * total[-1], np.finfo(float).tiny)  # a quantile 0 is in the first bin used
    place = np.searchsorted(total, rank)
    share = (rank - (total[place] - counts[place])) / counts[place]
    low, high = low[place], high[place]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(low > 0, low * (high / low) ** share, high * share)


def as_table(lines: Sequence[Row]) -> str:
    """Markdown: a row for each hook, all positions and without position 0."""
    names = ("mean", "variance", *(f"q{round(100 * q):02}" for q in QUANTILES), "largest_entry")
    rows = [[li["model"], li["hook"], li["subset"], f"{li['rows']:,}", *(short(li[n]) for n in names)] for li in lines]
    heads = ["mean ‖x‖₂", "its variance", *names[2:-1], "largest |entry|"]
    return markdown(["model", "hook", "positions", "rows", *heads], rows)
