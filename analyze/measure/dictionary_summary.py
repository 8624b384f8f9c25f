"""A run's dictionary at a hook as lines: figures of its directions, and the histograms of Figs. 12 to 14 of the post.

Not here: the figures' arithmetic (dictionary.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analyze.measure.dictionary import COSINE_EDGES, Thresholds, cosine_histogram, kinds, nearest
from analyze.measure.firing import FeatureActivity
from analyze.tables import Row, markdown, short, trained_on
from data.store.reader import Store

# 1, the norm of all of a baseline's features, is in the middle of a bin
NORM_EDGES = np.concatenate([[0.0], 2.0 ** (np.arange(-8, 12.25, 0.25) - 0.125)])
NARROW = 0.2  # the post's footnote: the baseline's cosines lie mostly within ±0.2
CLOSE = 0.9
SMALL = 0.5  # the post's claim, whatever a correction's threshold is


@dataclass(frozen=True)
class DictionarySummary:
    """One line of figures, and one line for each bin of a histogram that has any."""

    line: Row
    histograms: list[Row]


def summarize_dictionary(fires: FeatureActivity, store: Store, thresholds: Thresholds) -> DictionarySummary:
    """The dictionary of an SAE, live and dead features apart: live is what fired in the rows of `fires`.

    Norms are in the SAE's scale, and `over_input_norm` theirs in the store's scale over the layer's mean ‖x‖₂.
    """
    sae = fires.run.sae(fires.hook)
    W, live = sae.W_dec.detach(), fires.all.live
    norms, found = W.norm(dim=1), kinds(W, live, thresholds)
    scale = float(sae.input_scale) / store.statistics(fires.hook).mean_norm()
    pillars = torch.zeros_like(live)
    pillars[found.pillars] = True
    cosines, twin = cosine_histogram(W, live), nearest(W, live)[1][live, 0]
    middles = (COSINE_EDGES[1:] + COSINE_EDGES[:-1]) / 2
    about: Row = {"run": fires.run.name, "variant": fires.run.variant, "hook": fires.hook}
    n_pairs = max(int(cosines.sum()), 1)
    line = about | {
        "live": int(live.sum()), "dead": int((~live).sum()),
        "norm_median": _median(norms[live]), "norm_median_dead": _median(norms[~live]),
        "norm_max": float(norms[live].max()) if live.any() else None,
        "norm_over_input_norm_median": _median(norms[live] * scale),
        "small_norm_share": float(((norms[live] > 0) & (norms[live] < SMALL)).double().mean()) if live.any() else None,
        "pairs_within_0.2": float(cosines[np.abs(middles) < NARROW].sum() / n_pairs),
        "pairs_above_0.9": float(cosines[middles > CLOSE].sum() / n_pairs),
        "nearest_cosine_median": _median(twin),
        "near_twin_share": float((twin > CLOSE).double().mean()) if live.any() else None,
        "pillars": len(found.pillars), "corrections": len(found.corrections), "directions": len(found.directions),
        **found.overlaps(),
        "pillars_that_are_directions": _share(pillars, found.directions) if len(found.directions) else None,
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


def _share(of: torch.Tensor, features: torch.Tensor) -> float | None:
    """The share of `of` bool [d_sae] that is among the features int64 [n]; None of none."""
    return int(of[features].sum()) / int(of.sum()) if of.any() else None


def _median(values: torch.Tensor) -> float | None:
    return float(values.nanmedian()) if len(values) else None


SHOWN = {
    "live": "live", "dead": "dead", "norm_median": "median norm", "norm_max": "largest", "small_norm_share": "< 0.5",
    "pairs_within_0.2": "cosines in ±0.2", "nearest_cosine_median": "nearest", "corrections": "corrections",
    "directions": "directions", "pillars and directions": "… and pillars",
}  # fmt: skip


def as_table(lines: Sequence[Row]) -> str:
    """Markdown: a row for each run and hook."""
    rows = [
        [
            line["hook"],
            line["run"],
            trained_on(line),
            *(str(v) if isinstance(v := line[name], int) else short(v) for name in SHOWN),
        ]
        for line in sorted(lines, key=lambda line: [li["hook"] for li in lines].index(line["hook"]))
    ]
    return markdown(["hook", "run", "trained on", *SHOWN.values()], rows)
