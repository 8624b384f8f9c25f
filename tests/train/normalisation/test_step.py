"""A step on normalised inputs: its gradients and sums against the definition in float64, on pairs and on matrices."""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.architectures import ARCHITECTURES
from train.command.grid import make_runs
from train.experiment import Experiment, Reports, Run
from train.loop.build import make_stacks
from train.loop.memory_plan import make_plan
from train.loop.resample import restart_dead_features
from train.loss import Objective
from train.normalisation.scales import InputScale
from train.normalisation.statistics import InputStatistics
from train.optim.schedule import Resampling, Schedule
from train.sae import LossInputs
from train.step import method
from train.step.inputs import Inputs
from train.step.sae_stack import SAEStack

D, M, ROWS = 8, 32, 40
CPU = torch.device("cpu")
VARIANTS: dict[str, dict[str, tuple[Any, ...]]] = {
    "baseline": {"l1": (0.02,), "l1_power": (1,)}, "nsae": {"l1": (0.02,)}, "topk": {"k": (3,), "aux": (0.0,)},
}  # fmt: skip


def rows(seed: int = 0) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(ROWS, D)) * 3 + generator.normal(size=D) * 2).astype(np.float32)


def seen_by_hand(run: Run, x: NDArray[np.float64], statistics: InputStatistics) -> tuple[NDArray[np.float64], ...]:
    """Return the rows as the run's SAEs see them, and their scale [rows, 1] and offset [rows, d]."""
    assert statistics.mean is not None
    centred = run.input_mean == "store"
    offset = np.tile(statistics.mean, (ROWS, 1)) if centred else np.zeros((ROWS, D))
    mean_norm = statistics.centred_mean_norm if centred else statistics.mean_norm
    mean_square = statistics.centred_mean_square if centred else statistics.mean_square
    scale = np.ones((ROWS, 1))
    if run.input_scale == "layer-norm":
        offset = offset + (x - offset).mean(axis=1, keepdims=True)
        scale = (x - offset).std(axis=1, ddof=1, keepdims=True) + 1e-5
    elif run.input_scale.startswith("row"):
        scale = np.linalg.norm(x - offset, axis=1, keepdims=True)
    elif run.input_scale != "none":
        scale = scale * (mean_square**0.5 if run.input_scale.startswith("mean-square") else mean_norm)
    scale = scale / (D**0.5 if run.input_scale in ("sqrt-d", "mean-square-d", "row-sqrt-d") else 1)
    return (x - offset) / scale, scale, offset


def statistics_of(x: NDArray[np.float32]) -> InputStatistics:
    wide = x.astype(np.float64)
    norms, centred = np.linalg.norm(wide, axis=1), np.linalg.norm(wide - wide.mean(axis=0), axis=1)
    return InputStatistics(
        norms.mean(), np.square(norms).mean(), wide.mean(axis=0), centred.mean(), np.square(centred).mean()
    )


def stacks_of(
    runs: tuple[Run, ...], statistics: InputStatistics, density: float, norm: Any = "batch", at_most: int = 0,
    fused: bool = False,
) -> list[SAEStack]:  # fmt: skip
    total = 10**6
    experiment = Experiment(
        store="s", hooks=("blocks.0.hook_mlp_out",), runs=runs, expansion=M / D, batch_size=ROWS, decoder_bias=True,
        init="scaled", clip=None, precision="float32", data_seed=0, objective=Objective(norm=norm),
        schedule=Schedule(total), resampling=Resampling(2 * ROWS, ROWS, 1.0, at_most, ROWS),
        reports=Reports(log_every=total, validate_every=total, validate_rows=ROWS, window=total, snapshots=0),
    )  # fmt: skip
    plan = replace(make_plan(experiment, D, CPU), max_sparse_density=density, block_rows=16)
    plan = replace(plan, fused=fused, keep_derivative=fused)
    return make_stacks(plan, experiment, [statistics], CPU)


def definition(stack: SAEStack, i: int, seen: Tensor, beta: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Return the gradient of each tensor, the loss, and x̂ [rows, d] as the SAE sees it, in float64."""
    single, run = stack.singles[i], stack.entries[i].run
    sae = ARCHITECTURES[run.variant](d_model=D, d_sae=M, settings=run.settings, dtype=torch.float64)
    for name in sae.tensors():
        getattr(sae, name).copy_(getattr(single, name))
    tensors = {name: getattr(sae, name).requires_grad_() for name in sae.trained}
    dead = torch.zeros(M, dtype=torch.bool)
    result = sae.training_pass(seen, LossInputs(beta, 1 / D, ROWS, dead, step=1, n_steps=9))
    loss = torch.stack([term.mean() for term in result.terms.values()]).sum()
    gradients = dict(zip(tensors, torch.autograd.grad(loss, list(tensors.values())), strict=True))
    with torch.no_grad():
        sae.constrain_gradient_(gradients)  # type: ignore[arg-type]
    return gradients, loss.detach(), result.x_hat.detach()


def check_step(runs: tuple[Run, ...], density: float, norm: str = "batch", *, fused: bool = False) -> None:
    """Compare a step of the runs with their definition: loss, gradients, and sums of x̂ in raw units."""
    x = rows()
    statistics, wide = statistics_of(x), x.astype(np.float64)
    checked = 0
    for stack in stacks_of(runs, statistics, density, norm, fused=fused):
        for single in stack.singles:
            single.b_dec.data.add_(torch.linspace(-0.2, 0.3, D))
            single.b_enc.data.add_(0.1)
        expected = []
        for i, entry in enumerate(stack.entries):
            seen, scale, offset = seen_by_hand(entry.run, wide, statistics)
            norms = np.linalg.norm(seen, axis=1)
            # These rows are the store's too, so both means are the same, but for layer-norm's 1e-5.
            powered = (norms if norm == "sample" else norms.mean()) ** float(entry.run.l1_power)
            beta = torch.tensor(entry.run.l1 * np.atleast_1d(powered))
            gradients, loss, x_hat = definition(stack, i, torch.from_numpy(seen), beta)
            raw = x_hat.numpy() * scale + offset
            expected.append((gradients, loss, np.square(raw - wide).sum(), np.linalg.norm(raw, axis=1).sum()))
        result = stack.step(Inputs.of(torch.from_numpy(x)[None], CPU), None, seen=ROWS, measure=True)
        assert result.sums is not None
        for i, (gradients, loss, squared_error, norm_out) in enumerate(expected):
            name = stack.entries[i].run.name
            assert float(result.losses[i]) == pytest.approx(float(loss), rel=1e-4), name
            assert float(result.sums.squared_error[i]) == pytest.approx(squared_error, rel=1e-4), name
            assert float(result.sums.norm_out[i]) == pytest.approx(norm_out, rel=1e-4), name
            for tensor, gradient in gradients.items():
                by_stack = stack._gradient[tensor][i].double()
                torch.testing.assert_close(by_stack, gradient, rtol=1e-3, atol=2e-5 * float(gradient.abs().max()))
            checked += 1
    assert checked == len(runs)


@pytest.mark.parametrize(
    ("variant", "density", "norm"),
    [
        *((variant, density, "batch") for variant in VARIANTS for density in (1.0, 0.0)),
        ("baseline", 0.0, "store"), ("baseline", 0.0, "sample"), ("nsae", 0.0, "store"), ("nsae", 0.0, "sample"),
    ],
)  # fmt: skip
def test_step_has_the_gradients_and_raw_sums_of_its_definition(variant: str, density: float, norm: str) -> None:
    options = {"input_scale": get_args(InputScale), "input_mean": ("none", "store"), **VARIANTS[variant]}
    runs = make_runs((), {"variant": (variant,), **options})
    assert len(runs) == 16
    check_step(runs, density, norm)


@pytest.mark.parametrize("variant", ["baseline", "nsae"])
def test_step_by_gpu_kernels_has_the_gradients_and_raw_sums_of_its_definition(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    from train.step.gpu import pair_kernels
    from train.step.gpu.fused import FusedEncoder

    monkeypatch.setattr(method, "make_encoder", lambda sae, workspace: FusedEncoder(sae, workspace, pair_kernels))
    options = {"input_scale": ("row-norm",), "input_mean": ("store",), **VARIANTS[variant]}
    check_step(make_runs((), {"variant": (variant,), **options}), 1.0, fused=True)


@pytest.mark.parametrize("scale", ["mean-square", "row-norm", "layer-norm"])
def test_dead_features_restart_at_normalised_rows(scale: str) -> None:
    x = rows()
    statistics = statistics_of(x)
    options = {"variant": ("baseline",), "input_scale": (scale,), "input_mean": ("store",), **VARIANTS["baseline"]}
    (stack,) = stacks_of(make_runs((), options), statistics, 0.0, at_most=4)
    stack.sae.b_enc.fill_(-1e3)
    inputs = Inputs.of(torch.from_numpy(x)[None], CPU)
    stack.step(inputs, None, seen=ROWS, measure=False)
    b_dec = stack.singles[0].b_dec.clone()
    assert restart_dead_features([stack], lambda: iter([inputs]), step=2, stop=Event())
    seen = seen_by_hand(stack.entries[0].run, x.astype(np.float64), statistics)[0]
    directions = torch.nn.functional.normalize(torch.from_numpy(seen).float() - b_dec, dim=1)
    cosines = stack.singles[0].W_dec.detach() @ directions.T
    assert cosines.amax(dim=1).numpy() == pytest.approx(1, abs=1e-5)
