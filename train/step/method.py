"""The method of a stack's gradients: the formulas of gradients.py, or PyTorch from each SAE's loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from train.loss import Objective, Terms
from train.sae import SAE, ElementwiseSAE, Gradients, LossInputs
from train.sae.batch_split import WHOLE, BatchSplit
from train.step import pair_products
from train.step.autograd import AutogradStep
from train.step.encode import Encoder, make_encoder
from train.step.gpu.cuda_graph import Step, make_step
from train.step.gradients import Forward, forward
from train.step.noise import BatchNoise
from train.step.workspace import StepWorkspace


@dataclass(frozen=True)
class StackInputs:
    """The inputs of n SAEs for one batch.

    x float32 [n, batch, d_model]: normalised; a method may overwrite it.
    beta [n, 1] or [n, batch]: coefficient of the sparsity term.
    noise: the batch's noise; None: off.
    dead bool [n, d_sae]: the features that count as dead; None: the loss needs none.
    step: steps taken before; n_steps: of the whole training.
    l0_setpoints float32 [n]: the L0 that losses aim at, if these are adjusted to targets.
    split: how ranks split the batch, of which x then has a part.
    """

    x: Tensor
    beta: Tensor
    noise: BatchNoise | None
    dead: Tensor | None
    step: int
    n_steps: int
    l0_setpoints: Tensor | None = None
    split: BatchSplit = WHOLE

    def of_sae(self, index: int, l2_weight: float) -> LossInputs:
        """Return what the loss of one SAE depends on."""
        sae_dead = self.x.new_zeros(0, dtype=torch.bool) if self.dead is None else self.dead[index]
        return LossInputs(
            beta=self.beta[index], l2_weight=l2_weight, rows=self.split.batch_rows(self.x.shape[1]), dead=sae_dead,
            step=self.step, n_steps=self.n_steps, split=self.split,
            l0_setpoint=None if self.l0_setpoints is None else self.l0_setpoints[index],
        )  # fmt: skip


class StepMethod(Protocol):
    """Computes the forward pass of a stack, and the terms of each row's loss."""

    def gradients(self, inputs: StackInputs) -> tuple[Forward, Terms]:
        """Fill the stack's gradients too."""

    def evaluate(self, inputs: StackInputs) -> tuple[Forward, Terms]:
        """Use the activations as at inference, with noise if the inputs have it."""


@dataclass(frozen=True)
class HandwrittenStep:
    """The method of elementwise architectures."""

    encoder: Encoder
    step: Step
    objective: Objective

    def gradients(self, inputs: StackInputs) -> tuple[Forward, Terms]:
        result = self.step(inputs.x, inputs.beta, inputs.noise)
        return result, self.objective.terms(result.l1, inputs.beta, result.residual)

    def evaluate(self, inputs: StackInputs) -> tuple[Forward, Terms]:
        result = forward(self.encoder, inputs.x, inputs.noise)
        return result, self.objective.terms(result.l1, inputs.beta, result.residual)


@dataclass(frozen=True)
class LossStep:
    """The method of all other architectures."""

    autograd: AutogradStep
    l2_weight: float

    def gradients(self, inputs: StackInputs) -> tuple[Forward, Terms]:
        return self.autograd.gradients(inputs.x, self._of_each_sae(inputs))

    def evaluate(self, inputs: StackInputs) -> tuple[Forward, Terms]:
        return self.autograd.evaluate(inputs.x, self._of_each_sae(inputs))

    def _of_each_sae(self, inputs: StackInputs) -> list[LossInputs]:
        return [inputs.of_sae(i, self.l2_weight) for i in range(len(inputs.x))]


def make_method(
    sae: SAE, singles: Sequence[SAE], workspace: StepWorkspace, *, objective: Objective, batch_size: int, out: Gradients
) -> StepMethod:
    """Choose the method of a stack. singles: its SAEs one by one, which share its memory."""
    l2_weight = objective.l2_weight(sae.d_model)
    if isinstance(sae, ElementwiseSAE):
        encoder = make_encoder(sae, workspace)
        return HandwrittenStep(
            encoder, make_step(encoder, batch_size=batch_size, l2_weight=l2_weight, out=out), objective
        )
    products = pair_products
    if workspace.c.is_cuda:
        from train.step.gpu import pair_kernels as products  # type: ignore[no-redef]
    return LossStep(AutogradStep(singles, workspace, products, out), l2_weight)
