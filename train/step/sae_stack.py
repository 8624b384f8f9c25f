"""SAEs of one architecture, shape and seed that are stepped together, and their state between two steps.

`SAEStack.step` is one training step from top to bottom; it calls gradients.py for the gradients, loss.py for the loss,
and optim/adam.py for the update. The entries of a stack are independent: one per run and layer. A checkpoint saves
a stack's state between two steps: parameters, moments and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from train.architectures import architecture_of
from train.experiment import Experiment, Run
from train.loss import Terms, total
from train.normalisation.scales import SCALED_ONLY
from train.normalisation.statistics import InputStatistics
from train.optim.adam import StackAdam, clip_, gradient_norms
from train.optim.fire_counts import FireCounts, SinceFired
from train.sae import Gradients
from train.sae.batch_split import WHOLE, BatchSplit
from train.sae.l0_controller import L0Controller, L0Correction
from train.step.gradients import Forward
from train.step.inputs import Inputs
from train.step.method import StackInputs, make_method
from train.step.noise import BatchNoise, NoiseSource, part_noise, torch_seed
from train.step.workspace import StepWorkspace
from train.sums import Sums


@dataclass(frozen=True)
class StackEntry:
    """One SAE of a stack: a run and a layer (index into the experiment's hooks)."""

    run: Run
    layer: int


@dataclass(frozen=True)
class StepResult:
    """The result of a step.

    losses [n]: the mean over the rows that this rank stepped on.
    sums, gradient_norms [n]: of the whole batch, before the update; None if the step was not measured.
    """

    losses: Tensor
    sums: Sums | None
    gradient_norms: Tensor | None


class SAEStack:
    """The stacked SAEs of `entries`: their parameters, optimizer, and firing counts.

    statistics [layers]: of each layer's training rows. read: the layers of a batch; None: all.
    workspace, gradient: memory that all stacks use in turn.
    split: how ranks that train the same SAEs split each step's batch.
    corrections: the last correction of each SAE's L0, after the last step.
    The runs of `entries` have the same `Run.input_form`.
    """

    def __init__(
        self, experiment: Experiment, entries: Sequence[StackEntry], *, d_model: int, d_sae: int,
        statistics: Sequence[InputStatistics], workspace: StepWorkspace, gradient: Gradients, device: torch.device,
        read: Sequence[int] | None = None, split: BatchSplit = WHOLE,
    ) -> None:  # fmt: skip
        def per_entry(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        n = len(entries)
        self.experiment, self.entries, self.split = experiment, list(entries), split
        self._schedule, self._clip = experiment.schedule_of(entries[0].run), experiment.clip_of(entries[0].run)
        self.variant, self.noise_seed = entries[0].run.variant, entries[0].run.seed
        read = range(len(experiment.hooks)) if read is None else read
        self.inputs = [read.index(entry.layer) for entry in entries]  # the layer of a batch that each SAE sees
        self.layers = torch.tensor(self.inputs, device=device)
        architecture, settings = architecture_of(self.variant), [entry.run.settings for entry in entries]
        normalisations = [e.run.normalisation(statistics[e.layer], d_model, experiment.objective) for e in entries]
        form = normalisations[0].form
        self.sae = architecture(n, d_model=d_model, d_sae=d_sae, settings=settings[0], input_form=form).to(device)
        self.singles = [self.sae.single(i, settings=settings[i]) for i in range(n)]
        constants: dict[str, Any] = {
            "input_scale": [normalisation.scale for normalisation in normalisations],
            "input_mean": np.array([normalisation.mean for normalisation in normalisations]),
            "sigma": [e.run.sigma for e in entries],
        }
        for name in constants.keys() & self.sae.tensors().keys():
            self.sae.get_buffer(name).copy_(torch.as_tensor(constants[name]))
        self._normalises = form != SCALED_ONLY or any(normalisation.scale != 1 for normalisation in normalisations)
        self._alpha = per_entry([e.run.l1 for e in entries])
        self._power = per_entry([float(e.run.l1_power) for e in entries])
        self._store_norms = per_entry([normalisation.seen_norm for normalisation in normalisations])
        self.l0_controller = self._make_l0_controller(device)
        self.corrections: list[L0Correction | None] = [None] * n
        self._gradient, self._noise_rows = gradient, workspace.noise_rows
        self._method = make_method(
            self.sae, self.singles, workspace, objective=experiment.objective, batch_size=experiment.batch_size,
            out=gradient,
        )  # fmt: skip
        self.adam = StackAdam(
            self.sae, gradient, [e.run.lr for e in entries], fused=workspace.fused, beta1=settings[0].adam_beta1,
            beta2=settings[0].adam_beta2, epsilon=settings[0].adam_epsilon,
        )  # fmt: skip
        self.counts = FireCounts(n, d_sae, window=experiment.reports.window, device=device)
        limits = [sae.rows_until_dead for sae in self.singles]
        self.since_fired = SinceFired(n, d_sae, limits, device=device) if any(limits) else None
        self.counts_since_resampling = FireCounts(n, d_sae, window=None, device=device) if experiment.restarts else None

    def initialise(self) -> None:
        """Set all SAEs to their start, drawn on the CPU, so it is the same on every device."""
        for i, sae in enumerate(self.singles):
            fresh = type(sae)(d_model=sae.d_model, d_sae=sae.d_sae, settings=sae.settings, input_form=sae.input_form)
            for name, tensor in sae.tensors().items():
                getattr(fresh, name).copy_(tensor)
            if self.experiment.init == "code":
                fresh.initialise_as_code(seed=self.seed(i))
            else:
                fresh.initialise(seed=self.seed(i), mean_norm=float(self._store_norms[i]))
            for name, tensor in fresh.tensors().items():
                sae.tensors()[name].copy_(tensor)

    def seed(self, index: int, *key: int) -> int:
        """Return a seed of one SAE alone. It depends on the hook's name, so other layers beside it change nothing."""
        entry = self.entries[index]
        return torch_seed(entry.run.seed, crc32(self.experiment.hooks[entry.layer].encode()), *key)

    def batch_noise(self, source: NoiseSource | None, *key: int) -> BatchNoise | None:
        """Return the noise of a key (such as a step) for this stack's seed; None if it uses none."""
        return source.batch(self.noise_seed, *key) if source is not None and self.sae.uses_noise else None

    def step(self, inputs: Inputs, noise: BatchNoise | None, *, seen: int, measure: bool) -> StepResult:
        """Take one step of all SAEs, after `seen` rows.

        inputs: the rows `split.rows` of the batch. noise: of the whole batch.
        """
        experiment, split = self.experiment, self.split
        if noise is not None and split.rows.start:
            noise = part_noise(noise, split.rows.start, self._noise_rows)
        stack_inputs = self.stack_inputs(inputs, noise, self._schedule.l1(seen, experiment.batch_size), seen, split)
        if not seen and experiment.decoder_bias and experiment.init == "scaled":
            with torch.no_grad():
                for sae, x in zip(self.singles, split.whole(stack_inputs.x, dim=1), strict=True):
                    sae.initialise_at_(x)
        result, terms = self._method.gradients(stack_inputs)
        split.sum_(*self._gradient.tensors())
        fires, fires_without_noise = result.total_fires(split)
        # A feature of NaN weights is never active, so a loss on active pairs may not show it; b_dec's gradient does.
        losses = total(terms).masked_fill(~self._gradient.b_dec.isfinite().all(dim=1, keepdim=True), torch.nan)
        if self.l0_controller is not None:
            self.l0_controller.update(fires_without_noise.sum(dim=1) / experiment.batch_size)
        self.counts.add(fires_without_noise, experiment.batch_size)
        if self.since_fired is not None:
            self.since_fired.add(fires, experiment.batch_size)
        if self.counts_since_resampling is not None:
            self.counts_since_resampling.add(fires_without_noise, experiment.batch_size)
        batch_sums = self._measure(inputs, result, losses, terms).summed(split) if measure else None
        if not experiment.decoder_bias:
            self._gradient.b_dec.zero_()
        norms = None
        if measure or self._clip:
            self.adam.project_()
            norms = gradient_norms(self._gradient)
            if self._clip:
                clip_(self._gradient, norms, self._clip)
        self.adam.step(self._schedule.lr(seen, experiment.batch_size), projected=norms is not None)
        return StepResult(losses.mean(dim=1), batch_sums, norms)

    def controlled(self) -> dict[str, Tensor]:
        """Return by name what is adjusted to a target L0, before the warm-up: float32 [n]; none without a target."""
        return {} if self.l0_controller is None else {self.sae.l0_controlled_by: self.l0_controller.values}

    def stack_inputs(
        self, inputs: Inputs, noise: BatchNoise | None, l1_factor: float, seen: int, split: BatchSplit = WHOLE
    ) -> StackInputs:
        """Return each SAE's normalised inputs, and what its loss depends on."""
        x, norms = inputs.x.index_select(0, self.layers), inputs.norms[self.layers]
        if self._normalises:
            units = self.sae.input_units(x, norms)
            norms = units.norms(x, norms)
            units.normalise_(x)
        controlled = self.controlled()
        alpha = controlled.get("coefficient", self._alpha) * l1_factor
        beta = self.experiment.objective.coefficient(alpha, self._power, norms, self._store_norms, split)
        size = self.experiment.batch_size
        dead = None if self.since_fired is None else self.since_fired.dead(size)
        return StackInputs(
            x, beta, noise, dead, seen // size, self.experiment.n_steps, controlled.get("setpoint"), split
        )

    def measure(self, inputs: Inputs, noise: BatchNoise | None) -> Sums:
        """Return the sums over a batch, without a step, with the sparsity coefficient that follows all warm-up."""
        result, terms = self._evaluate(inputs, noise)
        return self._measure(inputs, result, total(terms), terms)

    def row_losses(self, inputs: Inputs) -> Tensor:
        """Return the loss of each row, noise off: [n, batch]."""
        return total(self._evaluate(inputs, None)[1])

    def state(self) -> dict[str, Tensor]:
        """Return by name what a step depends on beside the SAEs and the counts: the tensors themselves, [n, …]."""
        state = dict(self.adam.moments)
        if self.since_fired is not None:
            state["since_fired"] = self.since_fired.rows
        if self.l0_controller is not None:
            state |= self.l0_controller.state()
        return state

    def restart_(self, index: int, features: Tensor) -> None:
        """Forget the optimizer's moments and the silence of restarted features, int64 [k], of one SAE."""
        self.adam.reset_features_(index, features)
        if self.since_fired is not None:
            self.since_fired.rows[index, features] = 0

    def share_(self) -> None:
        """Copy the first rank's SAEs, after a task that each rank of a split has done on whole batches by itself."""
        self.split.share_([*self.sae.tensors().values(), *self.state().values()])

    def _make_l0_controller(self, device: torch.device) -> L0Controller | None:
        """Return the controller of L0; None if no SAE has a target."""
        targets = [sae.settings.adjusted_to for sae in self.singles]
        weight = self.experiment.objective.l2_weight(self.sae.d_model)
        first = [
            sae.first_control(mean_norm=float(norm), l2_weight=weight) if target else entry.run.l1
            for sae, norm, entry, target in zip(self.singles, self._store_norms, self.entries, targets, strict=True)
        ]
        return L0Controller(self.sae.l0_law, targets, first, device=device) if any(targets) else None

    def _evaluate(self, inputs: Inputs, noise: BatchNoise | None) -> tuple[Forward, Terms]:
        """Return the forward pass of a batch, and the terms of each row's loss."""
        return self._method.evaluate(self.stack_inputs(inputs, noise, 1.0, self.experiment.schedule.total))

    def _measure(self, inputs: Inputs, result: Forward, losses: Tensor, terms: Terms) -> Sums:
        """Return the sums over a batch, in the store's scale."""
        x = inputs.x[self.layers]
        units = self.sae.input_units(x, inputs.norms[self.layers])
        reconstruction = x + result.residual * units.scale
        weight = self.experiment.objective.l2_weight(x.shape[-1])
        return Sums.of_batch(
            x, reconstruction, l1=result.l1, fires=result.fires, loss=losses, l2_weight=weight, terms=terms
        )
