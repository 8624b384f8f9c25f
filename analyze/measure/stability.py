"""Compare the features of two runs by the best one-to-one matching of their live directions, by cosine.

Unrelated dictionaries have matched cosines above 0, too: more of them the more features and the fewer dimensions there
are. The null is therefore measured: the second dictionary is reflected along some of its principal axes, and matched
again. The reflection keeps the size, the spectrum and all cosines inside the dictionary, and moves every feature away
from its place. docs/statistics.md compares it with other nulls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from analyze.measure.dictionary import matched_cosines
from analyze.measure.firing import FeatureActivity
from analyze.runs.configurations import configurations
from analyze.runs.trained_run import TrainedRun
from analyze.tables import markdown, short
from data.command.progress import Bar

ALIKE = (0.7, 0.9)  # cosines from which on two features count as the same, loosely and strictly


def pairs_of_replicas(runs: Sequence[TrainedRun]) -> set[frozenset[str]]:
    """Return the pairs of runs, by name, that differ only in their seeds."""
    return {
        frozenset((first.name, second.name))
        for configuration in configurations(runs)
        for first, second in combinations(configuration.replicas, 2)
    }


@dataclass(frozen=True)
class StabilityRow:
    """The matched features of two runs at a hook. Statistics of no matched features are None.

    live_first, live_second, matched: counts of features.
    share_07, share_09: the share of the smaller dictionary's live features that have a match at cosine ≥ 0.7 or 0.9.
    null_…: the same for unrelated dictionaries.
    excess: (mean cosine − null) / (1 − null).
    """

    hook: str
    first: str
    second: str
    live_first: int
    live_second: int
    matched: int
    cosine_mean: float | None = None
    cosine_median: float | None = None
    share_07: float | None = field(default=None, metadata={"column": "share_0.7"})
    share_09: float | None = field(default=None, metadata={"column": "share_0.9"})
    null_cosine_mean: float | None = None
    null_share_07: float | None = field(default=None, metadata={"column": "null_share_0.7"})
    null_share_09: float | None = field(default=None, metadata={"column": "null_share_0.9"})
    excess: float | None = None


def stability(fires: Iterable[FeatureActivity], only: set[frozenset[str]] | None = None) -> list[StabilityRow]:
    """Return one row per hook and pair of runs; `only` restricts the pairs, by name. Noise is off."""
    by_hook: dict[str, list[FeatureActivity]] = {}
    for activity in fires:
        if not activity.noise:
            by_hook.setdefault(activity.hook, []).append(activity)
    pairs = [
        (hook, first, second)
        for hook, at_hook in by_hook.items()
        for first, second in combinations(at_hook, 2)
        if only is None or frozenset((first.run.name, second.run.name)) in only
    ]
    return [_row(*pair) for pair in Bar(pairs, desc="matching dictionaries", unit="pair", disable=not pairs)]


def unrelated(W: Tensor, seed: int = 0) -> Tensor:
    """Return the directions of a dictionary that shares no feature with W, of its size, spectrum and inner cosines.

    W: float32 [n, d_model], of any norms. The result is float32 [n, d_model]: the unit directions of W, reflected along
    some of their principal axes. Axes along which all features lean to one side stay, because dictionaries with such a
    mean share it: the axes are a random half of the three quarters with the smallest mean for their spread.
    """
    directions = normalize(W, dim=1).double()
    axes = torch.linalg.svd(directions, full_matrices=False).Vh  # [min(n, d_model), d_model]
    along = directions @ axes.mT
    lean = along.mean(dim=0).square() / along.square().mean(dim=0)
    symmetric = lean.argsort()[: -(-3 * len(axes) // 4)]
    order = torch.randperm(len(symmetric), generator=torch.Generator().manual_seed(seed))
    flipped = axes[symmetric[order[: -(-len(order) // 2)].to(W.device)]]
    return (directions - 2 * directions @ flipped.mT @ flipped).to(W.dtype)


def excess(cosines: NDArray[np.float64], null: NDArray[np.float64]) -> float | None:
    """Return how far the mean of matched cosines is above the null's, as a share of the way to 1.

    It is about 0 for unrelated dictionaries and 1 for equal ones; None for fewer than two features, or if the null's
    mean is 1.
    """
    if len(cosines) < 2 or null.mean() > 1 - 1e-6:
        return None
    return float((cosines.mean() - null.mean()) / (1 - null.mean()))


def _row(hook: str, first: FeatureActivity, second: FeatureActivity) -> StabilityRow:
    W_first, W_second = (fires.run.sae(hook).W_dec.detach()[fires.all.live] for fires in (first, second))
    cosines = matched_cosines(W_first, W_second)
    about = hook, first.run.name, second.run.name, len(W_first), len(W_second), len(cosines)
    if not len(cosines):
        return StabilityRow(*about)
    null = matched_cosines(W_first, unrelated(W_second))
    loose, strict, null_loose, null_strict = (float((c >= alike).mean()) for c in (cosines, null) for alike in ALIKE)
    return StabilityRow(
        *about, float(cosines.mean()), float(np.median(cosines)), loose, strict, float(null.mean()), null_loose,
        null_strict, excess(cosines, null),
    )  # fmt: skip


def as_table(rows: Sequence[StabilityRow], trained: Mapping[str, str]) -> str:
    """Return a Markdown table with a row per pair of runs and hook. trained: how far each run was trained, by name."""
    shares = [head for alike in ALIKE for head in (f"≥ {alike}", "null")]
    header = ["hook", "runs", "trained on", "live", "mean cosine", "null", "excess", *shares]
    lines = [
        [
            row.hook, f"{row.first}, {row.second}", f"{trained[row.first]}; {trained[row.second]}",
            f"{row.live_first}, {row.live_second}",
            *map(short, (
                row.cosine_mean, row.null_cosine_mean, row.excess, row.share_07, row.null_share_07, row.share_09,
                row.null_share_09,
            )),
        ]
        for row in rows
    ]  # fmt: skip
    return markdown(header, lines)
