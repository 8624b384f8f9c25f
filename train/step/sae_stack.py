"""SAEs of one architecture, shape and seed that are stepped together, and their state between two steps.

`SAEStack.step` is one training step from top to bottom; it calls gradients.py for the gradients, loss.py for the loss,
and optim/adam.py for the update. The entries of a stack are independent: one per run and layer. A checkpoint saves
a stack's state between two steps: parameters, moments and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import torch
from torch import Tensor

from train.experiment import Experiment, Run
from train.optim.adam import StackAdam, clip_, gradient_norms
from train.optim.fire_counts import FireCounts
from train.sae import ARCHITECTURES, PARAMETERS, Gradients
from train.step.encode import make_encoder
from train.step.gpu.cuda_graph import make_step
from train.step.gradients import Forward, forward
from train.step.inputs import Inputs
from train.step.noise import BatchNoise, NoiseSource, torch_seed
from train.step.workspace import StepWorkspace
from train.sums import Sums


@dataclass(frozen=True)
class StackEntry:
    """One SAE of a stack: a run and a layer (index into the experiment's hooks)."""

    run: Run
    layer: int


@dataclass(frozen=True)
class StepResult:
    """Mean losses of a step [n]; if measured, the sums over its batch before the update, and gradient norms [n]."""

    losses: Tensor
    sums: Sums | None
    gradient_norms: Tensor | None


class SAEStack:
    """The stacked SAEs of `entries`: their parameters, optimizer, and firing counts.

    norms [layers]: each layer's mean ‖x‖₂ over the store's training split. workspace, gradient: memory that all stacks
    use in turn.
    """

    def __init__(
        self, experiment: Experiment, entries: Sequence[StackEntry], *, d_model: int, d_sae: int,
        norms: Sequence[float], workspace: StepWorkspace, gradient: Gradients, device: torch.device,
    ) -> None:  # fmt: skip
        def per_entry(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        n = len(entries)
        self.experiment, self.entries = experiment, list(entries)
        self.variant, self.noise_seed = entries[0].run.variant, entries[0].run.seed
        self.layers = torch.tensor([entry.layer for entry in entries], device=device)
        self.sae = ARCHITECTURES[self.variant](n, d_model=d_model, d_sae=d_sae).to(device)
        constants = {
            "input_scale": [norms[e.layer] if e.run.input_scale == "mean-norm" else 1.0 for e in entries],
            "sigma": [e.run.sigma for e in entries],
        }
        for name in self.sae.constants:
            self.sae.get_buffer(name).copy_(torch.tensor(constants[name]))
        self._alpha = per_entry([e.run.l1 for e in entries])
        self._power = per_entry([float(e.run.l1_power) for e in entries])
        self._store_norms = per_entry([norms[e.layer] for e in entries]) / self.sae.input_scale
        self._gradient = gradient
        self._encoder = make_encoder(self.sae, workspace)
        self._gradients = make_step(
            self._encoder, batch_size=experiment.batch_size, l2_weight=experiment.objective.l2_weight(d_model),
            out=gradient,
        )  # fmt: skip
        self.adam = StackAdam(self.sae, gradient, [e.run.lr for e in entries], fused=workspace.fused)
        self.counts = FireCounts(n, d_sae, window=experiment.reports.window, device=device)
        self.counts_since_resampling = FireCounts(n, d_sae, window=None, device=device) if experiment.restarts else None

    def initialise(self) -> None:
        """Set all SAEs to their start, drawn on the CPU, so it is the same on every device."""
        for i in range(len(self.entries)):
            sae = self.sae.single(i)
            fresh = type(sae)(d_model=sae.d_model, d_sae=sae.d_sae)
            for name in sae.constants:
                fresh.get_buffer(name).copy_(sae.get_buffer(name))
            if self.experiment.init == "code":
                fresh.initialise_as_code(seed=self.seed(i))
            else:
                fresh.initialise(seed=self.seed(i), mean_norm=float(self._store_norms[i]))
            for name in PARAMETERS:
                getattr(sae, name).copy_(getattr(fresh, name))

    def seed(self, index: int, *key: int) -> int:
        """Return a seed of one SAE alone. It depends on the hook's name, so other layers beside it change nothing."""
        entry = self.entries[index]
        return torch_seed(entry.run.seed, crc32(self.experiment.hooks[entry.layer].encode()), *key)

    def batch_noise(self, source: NoiseSource | None, *key: int) -> BatchNoise | None:
        """Return the noise of a key (such as a step) for this stack's seed; None if it uses none."""
        return source.batch(self.noise_seed, *key) if source is not None and self.sae.uses_noise else None

    def step(self, inputs: Inputs, noise: BatchNoise | None, *, seen: int, measure: bool) -> StepResult:
        """Take one step of all SAEs, after `seen` rows."""
        experiment = self.experiment
        x, beta = self._scaled_inputs(inputs, experiment.schedule.l1(seen, experiment.batch_size))
        result = self._gradients(x, beta, noise)
        losses = experiment.objective.rows(result.l1, beta, result.residual)
        # A feature of NaN weights is never active, so a loss on active pairs may not show it; b_dec's gradient does.
        losses.masked_fill_(~self._gradient.b_dec.isfinite().all(dim=1, keepdim=True), torch.nan)
        self.counts.add(result.fires_without_noise, experiment.batch_size)
        if self.counts_since_resampling is not None:
            self.counts_since_resampling.add(result.fires_without_noise, experiment.batch_size)
        batch_sums = self._measure(inputs, result, losses) if measure else None
        if not experiment.decoder_bias:
            self._gradient.b_dec.zero_()
        norms = None
        if measure or experiment.clip:
            self.adam.project_()
            norms = gradient_norms(self._gradient)
            if experiment.clip:
                clip_(self._gradient, norms, experiment.clip)
        self.adam.step(experiment.schedule.lr(seen, experiment.batch_size), projected=norms is not None)
        return StepResult(losses.mean(dim=1), batch_sums, norms)

    def measure(self, inputs: Inputs, noise: BatchNoise | None) -> Sums:
        """Return the sums over a batch, without a step, with the sparsity coefficient that follows all warm-up."""
        return self._measure(inputs, *self._evaluate(inputs, noise))

    def row_losses(self, inputs: Inputs) -> Tensor:
        """Return the loss of each row, noise off: [n, batch]."""
        return self._evaluate(inputs, None)[1]

    def _scaled_inputs(self, inputs: Inputs, l1_factor: float) -> tuple[Tensor, Tensor]:
        """Return each SAE's scaled inputs, a copy [n, batch, d_model], and its coefficient β [n, 1] or [n, batch]."""
        scale = self.sae.input_scale[:, None]
        x = inputs.x.index_select(0, self.layers).div_(scale[..., None])
        alpha = self._alpha * l1_factor
        norms = inputs.norms[self.layers] / scale
        return x, self.experiment.objective.coefficient(alpha, self._power, norms, self._store_norms)

    def _evaluate(self, inputs: Inputs, noise: BatchNoise | None) -> tuple[Forward, Tensor]:
        """Return the forward pass of a batch, and the loss of each row [n, batch]."""
        x, beta = self._scaled_inputs(inputs, 1.0)
        result = forward(self._encoder, x, noise)
        return result, self.experiment.objective.rows(result.l1, beta, result.residual)

    def _measure(self, inputs: Inputs, result: Forward, losses: Tensor) -> Sums:
        """Return the sums over a batch, in the store's scale."""
        x = inputs.x[self.layers]
        reconstruction = x + result.residual * self.sae.input_scale[:, None, None]
        weight = self.experiment.objective.l2_weight(x.shape[-1])
        return Sums.of_batch(x, reconstruction, l1=result.l1, fires=result.fires, loss=losses, l2_weight=weight)
