"""Summary statistics and histograms of one SAE's decoder directions (Figs. 12 to 14 of the post)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analyze.measure.dictionary import COSINE_EDGES, Thresholds, cosine_histogram, kinds, nearest
from analyze.measure.firing import FeatureActivity
from analyze.tables import Row, markdown, short, trained_on
from data.store.reader import Store
from train.normalisation.scales import norm_before_scale
from train.normalisation.statistics import InputStatistics

# The norm 1, which all features of a baseline have, is in the middle of a bin.
NORM_EDGES = np.concatenate([[0.0], 2.0 ** (np.arange(-8, 12.25, 0.25) - 0.125)])
NARROW = 0.2  # by the post's footnote, most cosines of the baseline lie within ±0.2
CLOSE = 0.9
SMALL = 0.5  # of the post's claim; it does not follow --correction-norm


@dataclass(frozen=True)
class DictionarySummary:
    """The statistics of one SAE's dictionary, and one line per bin of its histograms that is not empty."""

    line: Row
    histograms: list[Row]


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
    about: Row = {"run": fires.run.name, "variant": fires.run.variant, "hook": fires.hook}
    n_pairs = max(int(cosines.sum()), 1)
    line = about | {
        "rows": fires.all.rows, "live": int(live.sum()), "dead": int((~live).sum()),
        "norm_median": _median(norms[live]), "norm_median_dead": _median(norms[~live]),
        "norm_max": float(norms[live].max()) if live.any() else None,
        "norm_over_input_norm_median": _median(norms[live] * scale),
        "small_norm_share": float(((norms[live] > 0) & (norms[live] < SMALL)).double().mean()) if live.any() else None,
        "pairs_within_0.2": float(cosines[np.abs(middles) < NARROW].sum() / n_pairs),
        "pairs_above_0.9": float(cosines[middles > CLOSE].sum() / n_pairs),
        "nearest_cosine_median": _median(nearest_cosines),
        "near_twin_share": float((nearest_cosines > CLOSE).double().mean()) if live.any() else None,
        "pillars": len(of_kind.pillars), "corrections": len(of_kind.corrections),
        "directions": len(of_kind.directions), **of_kind.overlaps(),
        "pillars_that_are_directions": _share(pillars, of_kind.directions) if len(of_kind.directions) else None,
    }  # fmt: skip
    histograms = [
        about | {"of": name, **bin_}
        for name, edges, counts in (
            ("norms of live features", NORM_EDGES, _histogram(norms[live])),
            ("norms over the mean input norm", NORM_EDGES, _histogram(norms[live] * scale)),
            ("norms of dead features", NORM_EDGES, _histogram(norms[~live])),
            ("cosines of live pairs", COSINE_EDGES, cosines),
            ("cosines of pillars", COSINE_EDGES, cosine_histogram(W, pillars)),
        )
        for bin_ in _bins(edges, counts)
    ]
    return DictionarySummary(line, histograms)


def _histogram(norms: torch.Tensor) -> np.ndarray:
    return np.histogram(norms.numpy(), bins=NORM_EDGES)[0]


def _bins(edges: np.ndarray, counts: np.ndarray) -> list[Row]:
    return [
        {"low": float(edges[i]), "high": float(edges[i + 1]), "count": int(counts[i])} for i in np.flatnonzero(counts)
    ]


def _share(mask: torch.Tensor, features: torch.Tensor) -> float | None:
    """Return the share of the true entries of `mask`, bool [d_sae], at the numbers int64 [n]; None without any."""
    return int(mask[features].sum()) / int(mask.sum()) if mask.any() else None


def _median(values: torch.Tensor) -> float | None:
    return float(values.nanmedian()) if len(values) else None


TITLES = {
    "rows": "rows counted", "live": "live", "dead": "dead", "norm_median": "median norm", "norm_max": "largest norm",
    "small_norm_share": "norm < 0.5",
    "pairs_within_0.2": "cosines within ±0.2", "nearest_cosine_median": "nearest cosine", "corrections": "corrections",
    "directions": "directions", "pillars and directions": "pillars and directions",
}  # fmt: skip


def as_table(lines: Sequence[Row]) -> str:
    """Return a Markdown table with a row per run and hook."""
    rows = [
        [
            line["hook"],
            line["run"],
            trained_on(line),
            *(str(v) if isinstance(v := line[name], int) else short(v) for name in TITLES),
        ]
        for line in sorted(lines, key=lambda line: [li["hook"] for li in lines].index(line["hook"]))
    ]
    return markdown(["hook", "run", "trained on", *TITLES.values()], rows)
