"""Adam (Kingma and Ba 2015) for a stack of SAEs, each with its own learning rate, which keeps the constraint.

    m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,   θ ← θ − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)

PyTorch's fused kernel takes one learning rate for all its tensors, so SAEs of equal rate go through it together, as
slices of the stack's memory. It is called as a function because importing `Optimizer` takes two seconds (it imports a
compiler). On a GPU our own kernel also keeps decoder rows at norm 1 in the same pass (adam_kernel.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim.adam import adam

from train.sae import SAE, Gradients


@dataclass(frozen=True)
class EqualRate:
    """The tensors of the SAEs that share a learning rate, in the order that PyTorch's kernel takes them."""

    parameters: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)
    exp_avg: list[Tensor] = field(default_factory=list)
    exp_avg_sq: list[Tensor] = field(default_factory=list)
    steps: list[Tensor] = field(default_factory=list)


class StackAdam:
    """Adam of one stack; `lr` has one learning rate per SAE, β₁, β₂ and ε are the same for all.

    If `fused`, the GPU's kernel takes the steps.

    moments: `exp_avg.NAME` and `exp_avg_sq.NAME` for each parameter's name, stacked as the parameters are.
    """

    def __init__(
        self, sae: SAE, gradient: Gradients, lr: Sequence[float], *, beta1: float = 0.9, beta2: float = 0.999,
        epsilon: float = 1e-8, fused: bool = False,
    ) -> None:  # fmt: skip
        self._sae, self._gradient, self._fused = sae, gradient, fused
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._step = 0
        device = gradient.b_dec.device
        self._rates = torch.tensor(lr, dtype=torch.float32, device=device)
        self.moments = {
            f"{moment}.{name}": torch.zeros_like(getattr(sae, name).data)
            for moment in ("exp_avg", "exp_avg_sq")
            for name in gradient
        }
        self._stacked = [
            (getattr(sae, name).data, grad, self.moments[f"exp_avg.{name}"], self.moments[f"exp_avg_sq.{name}"])
            for name, grad in gradient.by_name.items()
        ]
        self._by_rate: dict[float, EqualRate] = {}
        for i, rate in enumerate(lr):
            equal = self._by_rate.setdefault(rate, EqualRate())
            for parameter, grad, exp_avg, exp_avg_sq in self._stacked:
                equal.parameters.append(parameter[i])
                equal.gradients.append(grad[i])
                equal.exp_avg.append(exp_avg[i])
                equal.exp_avg_sq.append(exp_avg_sq[i])
                equal.steps.append(torch.zeros((), device=device))

    def set_step(self, step: int) -> None:
        """Continue as after `step` steps; the caller restores `moments`."""
        self._step = step
        for equal in self._by_rate.values():
            for count in equal.steps:
                count.fill_(step)

    def project_(self) -> None:
        """Remove from the gradient what the architecture's constraint forbids (`SAE.constrain_gradient_`)."""
        self._sae.constrain_gradient_(self._gradient)

    def step(self, factor: float, *, projected: bool = False) -> None:
        """Take one step with the learning rates times `factor`, along the projected gradient, and keep the constraint.

        projected: `project_` was called on this gradient already, as for its norm.
        """
        self._step += 1
        unit_rows = any(spec.unit_rows for spec in self._sae.specs.values())
        if self._fused and unit_rows:  # the kernel projects the gradient and constrains the rows
            self._step_by_kernel(factor)
            return
        if not projected:
            self.project_()
        if self._fused:
            self._step_by_kernel(factor)
        else:
            self._step_by_pytorch(factor)
        self._sae.constrain_()

    def reset_features_(self, index: int, features: Tensor) -> None:
        """Set the moments of features int64 [k] of the SAE `index` to 0."""
        for key, moment in self.moments.items():
            if self._sae.trained[key.split(".", 1)[1]].per_feature:
                moment[index, features] = 0

    def _step_by_kernel(self, factor: float) -> None:
        from train.optim.adam_kernel import adam_

        for name, tensors in zip(self._gradient, self._stacked, strict=True):
            adam_(
                tensors, self._rates, factor=factor, step=self._step, unit=self._sae.specs[name].unit_rows,
                beta1=self._beta1, beta2=self._beta2, eps=self._epsilon,
            )  # fmt: skip

    def _step_by_pytorch(self, factor: float) -> None:
        for rate, equal in self._by_rate.items():
            adam(
                equal.parameters, equal.gradients, equal.exp_avg, equal.exp_avg_sq, [], equal.steps, fused=True,
                lr=rate * factor, beta1=self._beta1, beta2=self._beta2, eps=self._epsilon, weight_decay=0.0,
                amsgrad=False, maximize=False,
            )  # fmt: skip


def gradient_norms(gradient: Gradients) -> Tensor:
    """Return the norm of each SAE's gradient over all parameters: float32 [n]."""
    norms = [torch.linalg.vector_norm(tensor.flatten(start_dim=1), dim=1) for tensor in gradient.tensors()]
    return torch.linalg.vector_norm(torch.stack(norms), dim=0)


def clip_(gradient: Gradients, norms: Tensor, limit: float) -> None:
    """Scale each SAE's gradient down to norm `limit` where `norms` [n] is larger."""
    factor = (limit / norms).clamp(max=1)
    for tensor in gradient.tensors():
        tensor.mul_(factor.view(-1, *[1] * (tensor.dim() - 1)))
