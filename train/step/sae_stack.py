"""SAEs of one architecture, shape and seed that are stepped together: their parameters, moments and counts.

A stack has one entry for each run and layer in it; all are independent. What a stack holds between two steps is its
state, which a checkpoint keeps.

Not here: the loop (trainer.py), which SAEs form a stack (plan.py).
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
from train.optim.resample import draw_inputs, restart
from train.sae import ARCHITECTURES, PARAMETERS, Gradients
from train.step.gpu.cuda_graph import make_step
from train.step.gradients import Forward, forward
from train.step.inputs import Inputs
from train.step.noise import NoiseSource, torch_seed
from train.step.workspace import BatchNoise, StepWorkspace
from train.sums import Sums


@dataclass(frozen=True)
class StackEntry:
    """One SAE: a run's, for a layer (index into the experiment's hooks)."""

    run: Run
    layer: int


class SAEStack:
    """See the module. `norms` [layers] is each layer's mean ‖x‖₂ over the store's training split."""

    def __init__(
        self, experiment: Experiment, entries: Sequence[StackEntry], *, d_model: int, d_sae: int,
        norms: Sequence[float], workspace: StepWorkspace, gradient: Gradients, device: torch.device,
    ) -> None:  # fmt: skip
        self.experiment, self.entries = experiment, list(entries)
        self.variant, self.seed = entries[0].run.variant, entries[0].run.seed
        self.sae = ARCHITECTURES[self.variant](len(entries), d_model=d_model, d_sae=d_sae).to(device)
        self.layers = torch.tensor([m.layer for m in entries], device=device)
        self._alpha, self._power, store_norms = (
            torch.tensor(values, dtype=torch.float32, device=device)
            for values in (
                [m.run.l1 for m in entries],
                [float(m.run.l1_power) for m in entries],
                [norms[m.layer] for m in entries],
            )
        )
        constants = {
            "input_scale": [norms[m.layer] if m.run.input_scale == "mean-norm" else 1.0 for m in entries],
            "sigma": [m.run.sigma for m in entries],
        }
        for name in self.sae.constants:
            self.sae.get_buffer(name).copy_(torch.tensor(constants[name]))
        self._store_norms = store_norms / self.sae.input_scale
        self._workspace, self._gradient = workspace, gradient
        self._gradients = make_step(
            self.sae, batch_size=experiment.batch_size, l2_weight=experiment.objective.l2_weight(d_model),
            workspace=workspace, out=gradient,
        )  # fmt: skip
        self.adam = StackAdam(self.sae, gradient, [m.run.lr for m in entries], fused=workspace.fused)
        self.counts = FireCounts(len(entries), d_sae, window=experiment.reports.window, device=device)
        self.counts_since_resampling = (
            FireCounts(len(entries), d_sae, window=None, device=device) if experiment.restarts else None
        )

    def initialise(self) -> None:
        """Set all SAEs to their start, drawn on the CPU, so that it is the same on every device."""
        for i, entry in enumerate(self.entries):
            one = self.sae.single(i)
            fresh = type(one)(d_model=one.d_model, d_sae=one.d_sae)
            for name in one.constants:
                fresh.get_buffer(name).copy_(one.get_buffer(name))
            seed = sae_seed(entry, self.experiment.hooks)
            if self.experiment.init == "code":
                fresh.initialise_as_code(seed=seed)
            else:
                fresh.initialise(seed=seed, mean_norm=float(self._store_norms[i]))
            for name in PARAMETERS:
                getattr(one, name).copy_(getattr(fresh, name))

    def batch_noise(self, noise: NoiseSource | None, *key: int) -> BatchNoise | None:
        """The noise of a key (a step …) for this stack's seed; None where there is none to draw."""
        return noise.of(self.seed, *key) if noise is not None and self.sae.uses_noise else None

    def step(
        self, inputs: Inputs, epsilon: BatchNoise | None, *, seen: int, measure: bool
    ) -> tuple[Tensor, Sums | None, Tensor | None]:
        """One step of all SAEs, after `seen` rows.

        Returns the mean losses [n], and if asked the sums over the batch (before the step) and the gradients' norms.
        """
        experiment = self.experiment
        x, beta = self._scaled_inputs(inputs, experiment.schedule.l1(seen, experiment.batch_size))
        found = self._gradients(x, beta, epsilon)
        losses = experiment.objective.rows(found.l1, beta, found.residual)
        # A feature of NaN weights never fires, so that a loss on active pairs may not see them; this gradient does.
        losses.masked_fill_(~self._gradient.b_dec.isfinite().all(dim=1, keepdim=True), torch.nan)
        self.counts.add(found.fires_without_noise, experiment.batch_size)
        if self.counts_since_resampling is not None:
            self.counts_since_resampling.add(found.fires_without_noise, experiment.batch_size)
        measured = self._measure(inputs, found.residual, found.l1, found.fires, losses) if measure else None
        if not experiment.decoder_bias:
            self._gradient.b_dec.zero_()
        lengths = None
        if measure or experiment.clip:
            self.adam.project_()
            lengths = gradient_norms(self._gradient)
            if experiment.clip:
                clip_(self._gradient, lengths, experiment.clip)
        self.adam.step(experiment.schedule.lr(seen, experiment.batch_size))
        return losses.mean(dim=1), measured, lengths

    def measure(self, inputs: Inputs, epsilon: BatchNoise | None) -> Sums:
        """Sums over a batch without a step; the sparsity coefficient is the one after all warm-up."""
        found, losses = self._evaluate(inputs, epsilon)
        return self._measure(inputs, found.residual, found.l1, found.fires, losses)

    def row_losses(self, inputs: Inputs) -> Tensor:
        """The loss of each row without noise: [n, batch]."""
        return self._evaluate(inputs, None)[1]

    def dead_features(self) -> list[Tensor]:
        """By the resampling's threshold and window, for each SAE: int64 [k]."""
        assert self.counts_since_resampling is not None
        limit = self.experiment.resampling.threshold * self.counts_since_resampling.rows
        return [torch.nonzero(fires <= limit)[:, 0] for fires in self.counts_since_resampling.current]

    def draw(self, index: int, losses: Tensor, n: int, *, step: int) -> Tensor:
        """Rows to restart n features of one SAE at, by losses [rows]: int64 [n]."""
        return draw_inputs(losses, n, seed=sae_seed(self.entries[index], self.experiment.hooks, step))

    def restart(self, index: int, dead: Tensor, x: Tensor) -> None:
        """Restart features int64 [k] of one SAE at rows x [k, d_model], in the store's scale."""
        one = self.sae.single(index)
        restart(one, dead, x / one.input_scale)
        self.adam.reset_features_(index, dead)

    def _evaluate(self, inputs: Inputs, epsilon: BatchNoise | None) -> tuple[Forward, Tensor]:
        """What the SAEs make of a batch, and the loss of each row [n, batch]."""
        x, beta = self._scaled_inputs(inputs, 1.0)
        found = forward(self.sae, x, epsilon, workspace=self._workspace)
        return found, self.experiment.objective.rows(found.l1, beta, found.residual)

    def _scaled_inputs(self, inputs: Inputs, l1_factor: float) -> tuple[Tensor, Tensor]:
        """The inputs as the SAEs see them, a copy [n, batch, d_model], and their β [n, 1 or batch]."""
        scale = self.sae.input_scale[:, None]
        x = inputs.x.index_select(0, self.layers).div_(scale[..., None])
        alpha = self._alpha * l1_factor
        norms = inputs.norms[self.layers] / scale
        return x, self.experiment.objective.coefficient(alpha, self._power, norms, self._store_norms)

    def _measure(self, inputs: Inputs, residual: Tensor, l1: Tensor, fires: Tensor, losses: Tensor) -> Sums:
        x = inputs.x[self.layers]
        reconstruction = x + residual * self.sae.input_scale[:, None, None]
        weight = self.experiment.objective.l2_weight(x.shape[-1])
        return Sums.of_batch(x, reconstruction, l1=l1, fires=fires, loss=losses, l2_weight=weight)


def sae_seed(entry: StackEntry, hooks: Sequence[str], *more: int) -> int:
    """A seed of one SAE's own, by its hook's name: training more layers beside it changes nothing."""
    return torch_seed(entry.run.seed, crc32(hooks[entry.layer].encode()), *more)
