"""Measure trained SAEs on a store's held-out rows, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from analyze.measure.cache import NO_CACHE, MeasurementCache
from analyze.measure.firing import FeatureActivity, FeatureRow
from analyze.measure.heldout import Heldout
from analyze.measure.positions import subsets
from analyze.measure.row_pass import SummedRows, sum_rows
from analyze.measure.row_sums import ROWS, RowSums
from analyze.runs.same_rows import check_store
from analyze.runs.trained_run import TrainedRun, find_runs
from analyze.statistics.estimates import Estimates, MeasureRow, estimates_of_sae, measure_rows
from analyze.statistics.jackknife import without_each
from analyze.tables import markdown, short, with_interval
from data.errors import InputError
from data.store.reader import Store, open_store
from data.store.stats import Subset
from train.measures import HELD_OUT, Measure, Sample, Shown, dead_title, measures_on


@dataclass(frozen=True)
class Evaluation:
    """The measures of SAEs on held-out rows.

    measures: one row per SAE, noise setting, subset of positions and measure.
    activity: per SAE and noise setting, how often each feature fired.
    runs: the runs that were measured.
    heldout: the held-out contexts that they were measured on.
    """

    measures: list[MeasureRow]
    activity: list[FeatureActivity]
    runs: Sequence[TrainedRun]
    heldout: Heldout

    def value(self, measure: str, run: str, hook: str, *, noise: bool = False, subset: str = Subset.ALL) -> MeasureRow:
        """Return the row of one measure. Raises InputError, naming what was measured, if there is none."""
        sought = (measure, run, hook, noise, subset)
        for row in self.measures:
            if (row.measure, row.run, row.hook, row.noise, row.subset) == sought:
                return row
        for name, value in (("measure", measure), ("run", run), ("hook", hook)):
            known = dict.fromkeys(getattr(row, name) for row in self.measures)
            if value not in known:
                raise InputError(f"{name} {value!r} was not measured; give {', '.join(known)}")
        rows = f"noise {'on' if noise else 'off'}, subset '{subset}'"
        raise InputError(f"{measure} of {run} at {hook} was not measured with {rows}; give another noise or subset")


def evaluate(
    store: Store | str | PathLike[str], runs: Iterable[TrainedRun | str | PathLike[str]] | str | PathLike[str], *,
    contexts: int | None = None, hooks: Sequence[str] | str = (), seed: int = 0, device: torch.device | str = "cpu",
) -> Evaluation:  # fmt: skip
    """Measure trained SAEs on a store's held-out rows: L0, explained variance, suppression and the other measures.

        from analyze import evaluate
        result = evaluate("data/demo.zarr", ["runs/demo"], contexts=50)
        row = result.value("explained_variance", run="nsae_target_l0=32", hook="blocks.3.hook_mlp_out")
        row.value, row.low, row.high     # with its 95 % interval over documents
        result.activity[0].all.live      # bool [d_sae]: which features of the first SAE fired

    An SAE of an architecture with noise is measured with noise off and on. `train/measures.py` defines the measures. A
    store that records the features of its activations adds measures that compare with them, without an interval.

    Args:
        store: The store that the SAEs were trained on, or one of the same rows in another stored type.
        runs: Folders of runs, or folders that contain runs; one or several.
        contexts: How many held-out contexts to use, evenly spaced. Default: all.
        hooks: Full names of the hooks to measure. Default: all.
        seed: Seed of the noise.
        device: Where the SAEs run.

    Raises:
        InputError: A run was trained on other rows, diverged, or has no checkpoint yet.
        StoreError: The store has no held-out rows.
        DamagedError: A file differs from its checksum.
    """
    opened = store if isinstance(store, Store) else open_store(str(store))
    wanted_runs = [runs] if isinstance(runs, str | PathLike) else list(runs)
    trained = [run for run in wanted_runs if isinstance(run, TrainedRun)]
    folders = [Path(run) for run in wanted_runs if not isinstance(run, TrainedRun)]
    trained += find_runs(folders)
    check_store(trained, opened)
    heldout = Heldout(opened, contexts)
    chosen = [hooks] if isinstance(hooks, str) else hooks
    estimates, activity = measure_heldout(heldout, trained, hooks=chosen, seed=seed, device=device)
    return Evaluation(measure_rows(estimates, trained), activity, trained, heldout)


def measure_heldout(
    heldout: Heldout, runs: Sequence[TrainedRun], *, measures: Collection[Measure] = HELD_OUT.values(),
    hooks: Sequence[str] = (), seed: int = 0, device: torch.device | str = "cpu", cache: MeasurementCache = NO_CACHE,
) -> tuple[Estimates, list[FeatureActivity]]:  # fmt: skip
    """Return the measures of all SAEs, noise off and on, and which of their features fire; `hooks` empty means all.

    If the store has a truth, the measures that compare with it are added.
    """
    estimates: Estimates = {}
    activity: list[FeatureActivity] = []
    truth = heldout.store.truth
    for summed in sum_rows(heldout, runs, hooks=hooks, seed=seed, truth=truth, device=device, cache=cache):
        estimates |= _estimates(summed, heldout.bins, measures)
        activity.append(summed.activity)
    return estimates, activity


def _estimates(summed: SummedRows, bins: list[tuple[str, int, int]], measures: Collection[Measure]) -> Estimates:
    """Return the measures of one SAE on each subset of positions that has rows; those of a truth only on all."""
    activity, l2_weight = summed.activity, summed.activity.run.l2_weight(summed.x.shape[-1])
    estimates: Estimates = {}
    sums_of, x_of, x_hat_of = (subsets(by_bin, bins, axis=1) for by_bin in (summed.sums, summed.x, summed.x_hat))
    for subset, rows in ((subset, sums[:, ROWS]) for subset, sums in sums_of.items()):
        if rows.any():
            sums, x, x_hat = (by_group[subset][rows > 0] for by_group in (sums_of, x_of, x_hat_of))
            whole = RowSums.of_columns(sums.sum(axis=0), x.sum(axis=0), x_hat.sum(axis=0), l2_weight)
            replicates = RowSums.of_columns(without_each(sums), without_each(x), without_each(x_hat), l2_weight)
            shares = rows[rows > 0] / rows.sum()
            sae = (activity.run.name, activity.hook, activity.noise, subset)
            estimates |= estimates_of_sae(whole.measures(measures), replicates.measures(measures), shares, sae)
    if summed.truth is not None:
        values = summed.truth.measures()
        rows = summed.sums[..., ROWS].sum(axis=1)
        shares = rows[rows > 0] / rows.sum()
        sae = (activity.run.name, activity.hook, activity.noise, Subset.ALL)
        estimates |= estimates_of_sae(values, dict.fromkeys(values, np.full(len(shares), np.nan)), shares, sae)
    return estimates


def as_table(rows: Sequence[MeasureRow], features: Sequence[FeatureRow], trained: Mapping[str, str]) -> str:
    """Return Markdown tables with a row per SAE, noise off and on, over all positions.

    The first has the main measures and the dead share; the measures that compare with a truth are columns if they were
    taken. The second takes suppression apart. trained: how far each run was trained, by name.
    """
    whole = [row for row in features if row.subset == Subset.ALL]
    dead = {(row.hook, row.run, row.noise): short(row.dead) for row in whole}
    main = _table(rows, trained, Sample.HELD_OUT | Sample.TRUTH, Shown.TABLES, {dead_title(whole[0].rows): dead})
    return f"{main}\n\nSuppression, taken apart\n\n{_table(rows, trained, Sample.HELD_OUT, Shown.SUPPRESSION)}"


def _table(
    measured: Sequence[MeasureRow], trained: Mapping[str, str], samples: Sample, shown: Shown,
    more: Mapping[str, Mapping[tuple[str, str, bool], str]] = {},
) -> str:  # fmt: skip
    """Return a table of the measures of the samples that are shown there, and more columns: title to cell by SAE."""
    names = {row.measure for row in measured}
    columns = [measure for sample in samples for name, measure in measures_on(sample, shown).items() if name in names]
    by_sae: dict[tuple[str, str, bool], dict[str, str]] = {}
    for row in measured:
        if row.subset == Subset.ALL:
            cell = with_interval(row.value, row.low, row.high)
            by_sae.setdefault((row.hook, row.run, row.noise), {})[row.measure] = cell
    rows = [
        [
            hook, run, "on" if noise else "off", trained[run], *(cells[measure.name] for measure in columns),
            *(column[hook, run, noise] for column in more.values()),
        ]
        for (hook, run, noise), cells in by_sae.items()
    ]  # fmt: skip
    return markdown(["hook", "run", "noise", "trained on", *(measure.title for measure in columns), *more], rows)
