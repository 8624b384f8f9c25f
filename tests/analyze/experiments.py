"""An experiment for tests that need its settings only."""

from __future__ import annotations

from collections.abc import Sequence

from train.experiment import Experiment, Reports
from train.loss import Objective
from train.optim.schedule import Resampling, Schedule


def experiment(hooks: Sequence[str], *, l1_warmup: int = 0) -> Experiment:
    """Return an experiment on a store that does not exist, without runs."""
    return Experiment(
        store="s", hooks=tuple(hooks), runs=(), expansion=4.0, batch_size=8, decoder_bias=True, init="scaled",
        clip=None, precision="float32", data_seed=0, objective=Objective(), schedule=Schedule(100, l1_warmup=l1_warmup),
        resampling=Resampling(10**6, 10**5, 0.0, 0, 64), reports=Reports(100, 100, 100, 100, 0),
    )  # fmt: skip
