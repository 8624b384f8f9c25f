"""Summary statistics and histograms of one SAE's decoder directions (Figs. 12 to 14 of the post)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from analyze.measure.dictionary import COSINE_EDGES, Thresholds, cosine_histogram, kinds, nearest
from analyze.measure.firing import FeatureActivity
from analyze.tables import markdown, short
from data.store.reader import Store
from train.normalisation.scales import norm_before_scale
from train.normalisation.statistics import InputStatistics

# The norm 1, which all features of a baseline have, is in the middle of a bin.
NORM_EDGES = np.concatenate([[0.0], 2.0 ** (np.arange(-8, 12.25, 0.25) - 0.125)])
NARROW = 0.2  # by the post's footnote, most cosines of the baseline lie within ±0.2
CLOSE = 0.9
SMALL = 0.5  # of the post's claim; it does not follow --correction-norm


@dataclass(frozen=True)
class DictionaryRow:
    """The decoder directions of an SAE (the table `dictionary`). A statistic of no features is None.

    rows: the rows in which a feature must fire to be live.
    norm_over_input_norm_median: the median norm of live features, over the mean norm of the SAE's normalised inputs.
    small_norm_share: the share of live features with a norm above 0 and below 0.5.
    pairs_within_02, pairs_above_09: shares of pairs of live features, by their cosine: within ±0.2, or above 0.9.
    nearest_cosine_median: the median over live features of the largest cosine with another one.
    near_twin_share: the share of live features for which that cosine is above 0.9.
    pillars, corrections, directions: counts of the kinds of features.
    overlaps: counts of the features that each two kinds share, such as "pillars and directions"; a column each.
    pillars_that_are_directions: a share.
    """

    run: str
    variant: str
    hook: str
    rows: int
    live: int
    dead: int
    norm_median: float | None
    norm_median_dead: float | None
    norm_max: float | None
    norm_over_input_norm_median: float | None
    small_norm_share: float | None
    pairs_within_02: float = field(metadata={"column": "pairs_within_0.2"})
    pairs_above_09: float = field(metadata={"column": "pairs_above_0.9"})
    nearest_cosine_median: float | None
    near_twin_share: float | None
    pillars: int
    corrections: int
    directions: int
    overlaps: Mapping[str, int]
    pillars_that_are_directions: float | None


@dataclass(frozen=True)
class HistogramRow:
    """A bin of a histogram, from `low` to `high`. quantity: the norms or cosines that are counted."""

    run: str
    variant: str
    hook: str
    quantity: str = field(metadata={"column": "of"})
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class DictionarySummary:
    """The statistics of one SAE's dictionary, and one row per bin of its histograms that is not empty."""

    row: DictionaryRow
    histograms: list[HistogramRow]


def summarize_dictionary(fires: FeatureActivity, store: Store, thresholds: Thresholds) -> DictionarySummary:
    """Summarize the dictionary of one SAE; `fires` says which features are live.

    Norms are in the SAE's scale. Those "over the input norm" are divided by the mean norm of its normalised inputs.
    """
    sae = fires.run.sae(fires.hook)
    W, live = sae.W_dec.detach(), fires.all.live
    norms, of_kind = W.norm(dim=1), kinds(W, live, thresholds)
    statistics = InputStatistics.of(store, fires.hook)
    scale = float(sae.input_scale) / norm_before_scale(sae.input_form, statistics, sae.d_model)
    pillars = torch.zeros_like(live)
    pillars[of_kind.pillars] = True
    cosines, nearest_cosines = cosine_histogram(W, live), nearest(W, live)[1][live, 0]
    middles = (COSINE_EDGES[1:] + COSINE_EDGES[:-1]) / 2
    about = fires.run.name, fires.run.variant, fires.hook
    n_pairs = max(int(cosines.sum()), 1)
    row = DictionaryRow(
        *about, fires.all.rows, int(live.sum()), int((~live).sum()), _median(norms[live]), _median(norms[~live]),
        norm_max=float(norms[live].max()) if live.any() else None,
        norm_over_input_norm_median=_median(norms[live] * scale),
        small_norm_share=_share_true((norms[live] > 0) & (norms[live] < SMALL)),
        pairs_within_02=float(cosines[np.abs(middles) < NARROW].sum() / n_pairs),
        pairs_above_09=float(cosines[middles > CLOSE].sum() / n_pairs),
        nearest_cosine_median=_median(nearest_cosines),
        near_twin_share=_share_true(nearest_cosines > CLOSE),
        pillars=len(of_kind.pillars), corrections=len(of_kind.corrections), directions=len(of_kind.directions),
        overlaps=of_kind.overlaps(),
        pillars_that_are_directions=_share(pillars, of_kind.directions) if len(of_kind.directions) else None,
    )  # fmt: skip
    histograms = [
        HistogramRow(*about, name, float(edges[i]), float(edges[i + 1]), int(counts[i]))
        for name, edges, counts in (
            ("norms of live features", NORM_EDGES, _histogram(norms[live])),
            ("norms over the mean input norm", NORM_EDGES, _histogram(norms[live] * scale)),
            ("norms of dead features", NORM_EDGES, _histogram(norms[~live])),
            ("cosines of live pairs", COSINE_EDGES, cosines),
            ("cosines of pillars", COSINE_EDGES, cosine_histogram(W, pillars)),
        )
        for i in np.flatnonzero(counts)
    ]
    return DictionarySummary(row, histograms)


def _histogram(norms: torch.Tensor) -> np.ndarray:
    return np.histogram(norms.numpy(), bins=NORM_EDGES)[0]


def _share_true(mask: torch.Tensor) -> float | None:
    """Return the share of true entries; None without entries."""
    return float(mask.double().mean()) if len(mask) else None


def _share(mask: torch.Tensor, features: torch.Tensor) -> float | None:
    """Return the share of the true entries of `mask`, bool [d_sae], at the numbers int64 [n]; None without any."""
    return int(mask[features].sum()) / int(mask.sum()) if mask.any() else None


def _median(values: torch.Tensor) -> float | None:
    return float(values.nanmedian()) if len(values) else None


SHOWN: tuple[tuple[str, Callable[[DictionaryRow], float | None]], ...] = (
    ("rows counted", lambda row: row.rows), ("live", lambda row: row.live), ("dead", lambda row: row.dead),
    ("median norm", lambda row: row.norm_median), ("largest norm", lambda row: row.norm_max),
    ("norm < 0.5", lambda row: row.small_norm_share), ("cosines within ±0.2", lambda row: row.pairs_within_02),
    ("nearest cosine", lambda row: row.nearest_cosine_median), ("corrections", lambda row: row.corrections),
    ("directions", lambda row: row.directions),
    ("pillars and directions", lambda row: row.overlaps["pillars and directions"]),
)  # fmt: skip  # columns of tables for readers, by title


def as_table(rows: Sequence[DictionaryRow], trained: Mapping[str, str]) -> str:
    """Return a Markdown table with a row per run and hook. trained: how far each run was trained, by name."""
    hooks = list(dict.fromkeys(row.hook for row in rows))
    lines = []
    for row in sorted(rows, key=lambda row: hooks.index(row.hook)):
        values = [value_of(row) for _, value_of in SHOWN]
        cells = [str(value) if isinstance(value, int) else short(value) for value in values]
        lines.append([row.hook, row.run, trained[row.run], *cells])
    return markdown(["hook", "run", "trained on", *(title for title, _ in SHOWN)], lines)
