"""A stack's step, and what an experiment remembers, without a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from train.command.grid import make_runs
from train.experiment import Experiment, Reports
from train.loop.build import make_stacks
from train.loop.memory_needs import MemoryNeeds, memory_needs
from train.loop.memory_plan import make_plan
from train.loss import Objective
from train.normalisation.statistics import InputStatistics
from train.optim.schedule import Resampling, Schedule
from train.output.existing import check_existing
from train.output.experiment_folder import ExperimentFolder
from train.step.inputs import Inputs

CPU = torch.device("cpu")
HOOK = "blocks.0.hook_mlp_out"


def experiment(*, decoder_bias: bool = True) -> Experiment:
    return Experiment(
        store="s", hooks=(HOOK,), runs=tuple(make_runs((), {"variant": ("baseline",), "l1": (1e-3, 1e-2)})),
        expansion=4, batch_size=64, decoder_bias=decoder_bias, init="scaled", clip=None, precision="float32",
        data_seed=0, objective=Objective(), schedule=Schedule(10**6), resampling=Resampling(10**7, 10**6, 0.0, 0, 64),
        reports=Reports(log_every=10**6, validate_every=10**6, validate_rows=64, window=10**6, snapshots=0),
    )  # fmt: skip


@pytest.mark.parametrize("decoder_bias", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0], ids=["dense", "by what is active", "pairs"])
def test_nan_weights_affect_only_their_own_sae(decoder_bias: bool, share: float) -> None:
    settings = experiment(decoder_bias=decoder_bias)
    plan = replace(make_plan(settings, 24, CPU), max_sparse_density=share)
    (stack,) = make_stacks(plan, settings, [InputStatistics(5.0)], CPU)
    stack.sae.b_enc.fill_(-0.2)
    stack.sae.W_enc[0] = torch.nan
    inputs = Inputs.of(torch.randn(1, 64, 24, generator=torch.Generator().manual_seed(0)), CPU)
    losses = stack.step(inputs, None, seen=0, measure=False).losses
    assert losses.isfinite().tolist() == [False, True]


def test_value_measured_at_the_start_of_an_experiment_is_reused_on_resume(tmp_path: Path) -> None:
    def opened() -> ExperimentFolder:
        return ExperimentFolder(tmp_path, experiment(), command={"seed": 1}, provenance={})

    assert opened().measure_once("sparse_below", lambda: 0.25) == 0.25
    assert opened().measure_once("sparse_below", lambda: pytest.fail("measured again")) == 0.25
    assert not check_existing(tmp_path, experiment(), overwrite=False)  # and is not a setting that a resume must repeat


def test_memory_plan_includes_restarting_dead_features() -> None:
    """The inputs of all features at once, if all are dead, and the losses of the rows that they are drawn from."""
    never = experiment()
    often = replace(never, resampling=Resampling(10**5, 10**4, 0.0, 4, 10**5))

    def needs(settings: Experiment) -> MemoryNeeds:
        return memory_needs(make_plan(settings, 24, CPU), settings, CPU)

    assert needs(never).restart_bytes == 0
    assert needs(often).restart_bytes > 2 * 96 * 24 * 4
    assert needs(often).device_bytes > needs(never).device_bytes + 2 * 10**5 * 4
