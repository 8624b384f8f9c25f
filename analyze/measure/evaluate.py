"""Measure trained SAEs on a store's held-out rows, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from analyze.measure.cache import NO_CACHE, MeasurementCache
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from analyze.measure.positions import subsets
from analyze.measure.row_pass import SummedRows, sum_rows
from analyze.measure.row_sums import RowSums
from analyze.runs.trained_run import TrainedRun
from analyze.statistics import bootstrap
from analyze.statistics.estimates import Estimates, estimates_of_sae
from analyze.tables import Row, markdown, short, trained_on, with_interval
from data.store.stats import Subset
from train.measures import TRAINING, Sample, Shown, measures_on


def measure_heldout(
    heldout: Heldout, runs: Sequence[TrainedRun], *, hooks: Sequence[str] = (), seed: int = 0,
    device: torch.device | str = "cpu", cache: MeasurementCache = NO_CACHE,
) -> tuple[Estimates, list[FeatureActivity]]:  # fmt: skip
    """Return all measures of all SAEs, noise off and on, and which of their features fire; `hooks` empty means all."""
    estimates: Estimates = {}
    activity: list[FeatureActivity] = []
    weights = bootstrap.weights(heldout.n_groups, seed=seed)
    for summed in sum_rows(heldout, runs, hooks=hooks, seed=seed, device=device, cache=cache):
        estimates |= _estimates(summed, heldout.bins, weights)
        activity.append(summed.activity)
    return estimates, activity


def _estimates(summed: SummedRows, bins: list[tuple[str, int, int]], weights: bootstrap.Float) -> Estimates:
    """Return the measures of one SAE on each subset of positions that has rows."""
    activity, l2_weight = summed.activity, summed.activity.run.l2_weight(summed.x.shape[-1])
    estimates: Estimates = {}
    x_of = subsets(summed.x, bins, axis=1)
    for subset, sums in subsets(summed.sums, bins, axis=1).items():
        if sums[:, 0].sum():
            x = x_of[subset]
            whole = RowSums.of_columns(sums.sum(axis=0), x.sum(axis=0), l2_weight)
            resamples = RowSums.of_columns(
                bootstrap.resampled(sums, weights), bootstrap.resampled(x, weights), l2_weight
            )
            sae = (activity.run.name, activity.hook, activity.noise, subset)
            estimates |= estimates_of_sae(whole.measures(), resamples.measures(), sae, len(sums))
    return estimates


def as_table(lines: Sequence[Row], features: Sequence[Row]) -> str:
    """Return a Markdown table with a row per SAE, noise off and on: measures over all positions, and its dead share."""
    line_of = {
        (line["hook"], line["run"], line["noise"], line["measure"]): line
        for line in lines
        if line["subset"] == Subset.ALL
    }
    shown, rows = measures_on(Sample.HELD_OUT, Shown.TABLES), []
    for activity in (line for line in features if line["subset"] == Subset.ALL):
        sae = (activity["hook"], activity["run"], activity["noise"])
        measured = [line_of[*sae, name] for name in shown]
        cells = [trained_on(measured[0]), *map(with_interval, measured)]
        rows.append([*sae[:2], "on" if sae[2] else "off", *cells, short(activity["dead"])])
    titles = [*(measure.title for measure in shown.values()), TRAINING["dead"].title]
    return markdown(["hook", "run", "noise", "trained on", *titles], rows)
