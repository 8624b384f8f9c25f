"""Compare the features of two runs by the best one-to-one matching of their live directions, by cosine.

Unrelated dictionaries have matched cosines above 0, too: more of them the more features and the fewer dimensions there
are. The null is therefore measured: the second dictionary is reflected along some of its principal axes, and matched
again. The reflection keeps the size, the spectrum and all cosines inside the dictionary, and moves every feature away
from its place. docs/statistics.md compares it with other nulls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from analyze.tables import Row, markdown, short, trained_on
from data.command.progress import Bar

ALIKE = (0.7, 0.9)  # cosines from which on two features count as the same, loosely and strictly


def pairs_of_replicas(runs: Sequence[TrainedRun]) -> set[frozenset[str]]:
    """Return the pairs of runs, by name, that differ only in their seeds."""
    return {
        frozenset((first.name, second.name))
        for configuration in configurations(runs)
        for first, second in combinations(configuration.replicas, 2)
    }


def stability(fires: Iterable[FeatureActivity], only: set[frozenset[str]] | None = None) -> list[Row]:
    """Return one line per hook and pair of runs; `only` restricts the pairs, by name. Noise is off.

    `share_0.9` is the share of the smaller dictionary's live features that have a match at cosine ≥ 0.9. `null_…` are
    the values of unrelated dictionaries; `excess` is (mean cosine − null) / (1 − null).
    """
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
    return [_line(*pair) for pair in Bar(pairs, desc="matching dictionaries", unit="pair", disable=not pairs)]


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


def _line(hook: str, first: FeatureActivity, second: FeatureActivity) -> Row:
    W_first, W_second = (fires.run.sae(hook).W_dec.detach()[fires.all.live] for fires in (first, second))
    cosines = matched_cosines(W_first, W_second)
    known = len(cosines) > 0
    null = matched_cosines(W_first, unrelated(W_second)) if known else cosines
    return {
        "hook": hook, "first": first.run.name, "second": second.run.name, "live_first": len(W_first),
        "live_second": len(W_second), "matched": len(cosines),
        "cosine_mean": float(cosines.mean()) if known else None,
        "cosine_median": float(np.median(cosines)) if known else None,
        **{f"share_{alike}": float((cosines >= alike).mean()) if known else None for alike in ALIKE},
        "null_cosine_mean": float(null.mean()) if known else None,
        **{f"null_share_{alike}": float((null >= alike).mean()) if known else None for alike in ALIKE},
        "excess": excess(cosines, null),
    }  # fmt: skip


def as_table(lines: Sequence[Row]) -> str:
    """Return a Markdown table with a row per pair of runs and hook."""
    names = (
        "cosine_mean",
        "null_cosine_mean",
        "excess",
        *(f"{kind}share_{a}" for a in ALIKE for kind in ("", "null_")),
    )
    shares = [head for alike in ALIKE for head in (f"≥ {alike}", "null")]
    header = ["hook", "runs", "trained on", "live", "mean cosine", "null", "excess", *shares]
    rows = [
        [line["hook"], f"{line['first']}, {line['second']}",
         "; ".join(trained_on(line, side) for side in ("_first", "_second")),
         f"{line['live_first']}, {line['live_second']}", *(short(line[name]) for name in names)]
        for line in lines
    ]  # fmt: skip
    return markdown(header, rows)
