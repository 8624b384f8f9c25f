"""An experiment without a store, for benchmarks that step groups of SAEs on inputs of their own making."""

from __future__ import annotations

from collections.abc import Sequence

from train.experiment import Experiment, Precision, Reports, Run
from train.loss import Objective
from train.optim.schedule import Resampling, Schedule


def storeless(
    runs: Sequence[Run],
    hooks: Sequence[str],
    *,
    expansion: float,
    batch_size: int,
    schedule: Schedule,
    window: int,
    precision: Precision = "float32",
) -> Experiment:
    """Never measured, resampled or saved by itself; `window` is what the dead fraction is counted over."""
    total = schedule.total
    return Experiment(
        store="", hooks=tuple(hooks), runs=tuple(runs), expansion=expansion, batch_size=batch_size, decoder_bias=True,
        init="scaled", clip=None, precision=precision, data_seed=0, objective=Objective(), schedule=schedule,
        resampling=Resampling(2 * total, total, 0.0, 0, batch_size),
        reports=Reports(log_every=total, validate_every=total, validate_rows=1, window=window, snapshots=0),
    )  # fmt: skip
