"""SAEs whose activations are a function of the pre-activations entry by entry, trained with an L1 penalty.

    c = activation(gate(W_enc (x − b_dec) + b_enc)),   loss = β ‖c‖₁ + w ‖x − x̂‖²

train/step/gradients.py has their gradients, written out by hand.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from train.sae.base import SAE
from train.sae.training_pass import LossInputs, TrainingPass


class ElementwiseSAE(SAE):
    """An SAE with an elementwise activation. `SAE` has the shapes.

    An architecture states, beside what `SAE` asks for:
    needs_derivative: in bfloat16 c does not determine ∂c/∂pre, so `derivative` computes that from pre.
    fused_activation: c = ReLU or tanh(ReLU) of pre + σε, which the GPU's kernels compute (step/gpu); None: any other. A
    subclass that changes `gate_` or `activate` must set it again.
    """

    needs_derivative: ClassVar[bool] = False
    fused_activation: ClassVar[Literal["relu", "tanh"] | None] = None

    def activations(self, x: Tensor, epsilon: Tensor | None = None) -> Tensor:
        return self.activate(self.gate_(self.compared(x), epsilon))

    def compared(self, x: Tensor) -> Tensor:
        return (x - self.b_dec[..., None, :]) @ self.W_enc.mT + self.b_enc[..., None, :]

    def set_threshold_(self, threshold: float) -> None:
        self.b_enc.sub_(threshold)

    def training_pass(self, x: Tensor, step: LossInputs) -> TrainingPass:
        c = self.activations(x, step.epsilon)
        x_hat = self.reconstruct(c)
        terms = {"l2": step.l2_weight * (x - x_hat).square().sum(dim=-1), "l1": step.beta * c.sum(dim=-1)}
        return TrainingPass.of(c, x_hat, terms)

    def first_control(self, *, mean_norm: float, l2_weight: float) -> float:
        rms = mean_norm / self.d_model**0.5
        return 0.06 * l2_weight * rms / mean_norm**self.settings.l1_power

    def gate_(self, pre: Tensor, epsilon: Tensor | None) -> Tensor:
        """Change pre-activations [..., rows, d_sae] in place, and return them: those above 0 afterwards fire.

        The base class changes nothing; NSAE adds its noise, σ · epsilon. Selection within a row is possible, as TopK's,
        which sets all but the row's k largest to 0. Selection over a batch (BatchTopK) is not: `rows` is a part of the
        batch, as large as memory allows, so the result would depend on the machine.
        """
        return pre

    @abstractmethod
    def activate(self, pre: Tensor, out: Tensor | None = None) -> Tensor:
        """Return c from gated pre-activations, entry by entry: 0 where pre ≤ 0, else above 0.

        pre has any shape: the sparse step passes the active entries alone. c is written into `out` if given, which may
        be pre.
        """

    @abstractmethod
    def activation_backward(self, gradient: Tensor, c: Tensor, out: Tensor) -> Tensor:
        """Write ∂L/∂pre into `out`, and return it, from ∂L/∂c and c of any one shape, entry by entry.

        `out` may be gradient or c; `gradient` may be overwritten.
        """

    def derivative(self, pre: Tensor, out: Tensor) -> Tensor:
        """Write ∂c/∂pre into `out`, and return it; where pre ≤ 0 the values do not matter.

        Only architectures with `needs_derivative` have it.
        """
        raise NotImplementedError


def relu_backward(gradient: Tensor, c: Tensor, out: Tensor) -> Tensor:
    """Write the gradient into `out`, 0 where c is 0, in one pass and without a mask; `out` may be gradient or c."""
    return torch.ops.aten.threshold_backward.grad_input(gradient, c, 0, grad_input=out)
