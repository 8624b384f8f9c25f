"""Adam for a stack of SAEs, each with its own learning rate, that keeps to their constraint.

PyTorch's fused kernel has one learning rate for all tensors that it is given, so SAEs of one rate go through it
together, as slices of the stack's memory. It is called as a function: an `Optimizer` would first spend two seconds
importing a compiler. On GPUs a kernel of ours holds decoder rows at norm 1 in the same pass (adam_kernel.py).

Not here: the schedule (schedule.py), the gradients (step.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from train.sae import PARAMETERS, SAE, Gradients

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # PyTorch's defaults, and the paper's


class StackAdam:
    """Adam (Kingma and Ba 2015); `lr` has one learning rate an SAE. If `fused`, by the GPU's kernel."""

    def __init__(self, sae: SAE, gradient: Gradients, lr: Sequence[float], *, fused: bool = False) -> None:
        self._sae, self._gradient, self._fused = sae, gradient, fused
        self._done, self._projected = 0, False
        self._rates = torch.tensor(lr, dtype=torch.float32, device=gradient.b_dec.device)
        self.moments = {
            f"{moment}.{name}": torch.zeros_like(getattr(sae, name).data)
            for moment in ("exp_avg", "exp_avg_sq")
            for name in PARAMETERS
        }
        self._whole = [
            (getattr(sae, name).data, whole, self.moments[f"exp_avg.{name}"], self.moments[f"exp_avg_sq.{name}"])
            for name, whole in zip(PARAMETERS, gradient.tensors(), strict=True)
        ]
        self._by_rate: dict[float, tuple[list[Tensor], ...]] = {}
        for i, rate in enumerate(lr):
            lists = self._by_rate.setdefault(rate, ([], [], [], [], []))
            for tensors in self._whole:
                step = torch.zeros((), device=gradient.b_dec.device)
                for several, one in zip(lists, (*(tensor[i] for tensor in tensors), step), strict=True):
                    several.append(one)

    def set_step(self, step: int) -> None:
        """Continue as after `step` steps; the moments are in `moments`, stacked as the parameters are."""
        self._done = step
        for *_, steps in self._by_rate.values():
            for one in steps:
                one.fill_(step)

    def project_(self) -> None:
        """Free the gradients of what the constraint forbids, for those who look at them before the step does."""
        self._sae.constrain_gradient_(self._gradient)
        self._projected = True

    def step(self, factor: float) -> None:
        """One step along the gradients, with the learning rates times `factor`, and back onto the constraint."""
        self._done += 1
        folded = self._fused and self._sae.unit_decoder
        if not (folded or self._projected):
            self.project_()
        if self._fused:
            self._by_kernel(factor)
        else:
            self._by_pytorch(factor)
        if not folded:
            self._sae.constrain_()
        self._projected = False

    def reset_features_(self, index: int, features: Tensor) -> None:
        """Forget the moments of features int64 [k] of the SAE `index`."""
        for key, moment in self.moments.items():
            if not key.endswith("b_dec"):
                moment[index, features] = 0

    def _by_kernel(self, factor: float) -> None:
        from train.optim.adam_kernel import adam_

        for name, tensors in zip(PARAMETERS, self._whole, strict=True):
            adam_(
                tensors, self._rates, factor=factor, step=self._done, beta1=BETA1, beta2=BETA2, eps=EPS,
                unit=self._sae.unit_decoder and name == "W_dec",
            )  # fmt: skip

    def _by_pytorch(self, factor: float) -> None:
        for rate, (parameters, gradients, means, squares, steps) in self._by_rate.items():
            adam(
                parameters, gradients, means, squares, [], steps, fused=True, lr=rate * factor, beta1=BETA1,
                beta2=BETA2, eps=EPS, weight_decay=0.0, amsgrad=False, maximize=False,
            )  # fmt: skip


def gradient_norms(gradient: Gradients) -> Tensor:
    """‖∂L‖₂ over all parameters of each SAE: float32 [n]."""
    parts = [torch.linalg.vector_norm(tensor.flatten(start_dim=1), dim=1) for tensor in gradient.tensors()]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)


def clip_(gradient: Gradients, norms: Tensor, limit: float) -> None:
    """Scale each SAE's gradient down to norm `limit` where it is longer."""
    factor = (limit / norms).clamp(max=1)
    for tensor in gradient.tensors():
        tensor.mul_(factor.view(-1, *[1] * (tensor.dim() - 1)))
