"""Check options together: whether each has an effect on the runs, and whether their numbers of rows fit."""

from __future__ import annotations

from collections.abc import Sequence

from data.errors import InputError
from data.store.reader import Store
from train.command.defaults import RowCounts
from train.command.effects import check_effects
from train.command.options import Options
from train.experiment import Run
from train.measures import NO_VARIANCE
from train.optim.schedule import LENGTHS

MOST_VALIDATIONS = 100_000


def check_options(options: Options, counts: RowCounts, runs: Sequence[Run], n_rows: int | None) -> None:
    """Raise InputError if options have no effect, contradict each other, or count more rows than there are.

    `n_rows`: the store's training rows, None if unknown.
    """
    _check_rows(counts.activations, counts, n_rows)
    check_effects(options, runs)
    _check_lengths(options, counts, runs)


def check_norms(store: Store, hooks: Sequence[str], runs: Sequence[Run]) -> None:
    """Raise InputError if a hook's training rows are all zero, also after the runs subtract what they subtract.

    An SAE's start and its L1 are scaled by their norm.
    """
    centred = any(run.input_form.centred for run in runs)
    for hook in hooks:
        rows = store.statistics(hook)
        if rows.mean_norm() == 0:
            raise InputError(f"--store {store.path}: all rows of {hook} are zero; leave its layer out with --layers")
        if centred and not rows.variance().sum() > NO_VARIANCE * rows.mean_square():
            raise InputError(f"--input-mean store: all rows of {hook} are the same; leave its layer out with --layers")
        if store.width(hook) == 1 and any(run.input_form.rows == "deviation" for run in runs):
            raise InputError(f"--input-scale layer-norm: the rows of {hook} have one entry; give another scale")


def _check_rows(total: int, counts: RowCounts, n_rows: int | None) -> None:
    batch = counts.batch_size
    if n_rows is not None and batch > n_rows:
        raise InputError(
            f"--batch-size {batch}: the store has {n_rows} training rows; give less, or harvest more tokens"
        )
    if total < batch:
        raise InputError(
            f"--activations {total}: is less than a batch of {batch}; give more, or a smaller --batch-size"
        )
    if n_rows is not None and counts.resample_rows > n_rows:
        raise InputError(
            f"--resample-rows {counts.resample_rows:,}: the store has {n_rows:,} training rows; give at most that"
        )


def _check_lengths(options: Options, counts: RowCounts, runs: Sequence[Run]) -> None:
    total = counts.activations
    of_runs = {name: max(getattr(run, name) or 0 for run in runs) for name in LENGTHS}
    for name, length in {"window": options.window or 0, **of_runs}.items():
        if length > total:
            raise InputError(f"{_flag(name)} {length:,}: is longer than --activations {total:,}; give at most that")
    interval, window = counts.resample_interval, counts.resample_window
    if options.resample_interval is not None and interval >= total:
        raise InputError(
            f"--resample-interval {interval:,}: no restart comes before the end of --activations {total:,}; give less, "
            "or leave it out"
        )
    if options.resample_window is not None and window > interval:
        raise InputError(
            f"--resample-window {window:,}: is longer than --resample-interval {interval:,}; give at most that"
        )
    if total // counts.validate_every > MOST_VALIDATIONS:
        raise InputError(
            f"--validate-every {counts.validate_every:,}: makes {total // counts.validate_every:,} validations of "
            f"--activations {total:,}; give {-(-total // MOST_VALIDATIONS):,} or more"
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
