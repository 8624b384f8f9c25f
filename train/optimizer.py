"""Adam for a stack of SAEs, each with its own learning rate, by PyTorch's fused kernel.

The kernel has one learning rate for all tensors that it is given, so SAEs of one rate go through it together, as slices
of the stack's memory. It is called as a function: an `Optimizer` would first spend two seconds importing a compiler.

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
    """Adam (Kingma and Ba 2015); `lr` has one learning rate an SAE."""

    def __init__(self, sae: SAE, gradient: Gradients, lr: Sequence[float]) -> None:
        self.moments = {
            f"{moment}.{name}": torch.zeros_like(getattr(sae, name).data)
            for moment in ("exp_avg", "exp_avg_sq")
            for name in PARAMETERS
        }
        self._by_rate: dict[float, tuple[list[Tensor], ...]] = {}
        for i, rate in enumerate(lr):
            lists = self._by_rate.setdefault(rate, ([], [], [], [], []))
            for name, whole in zip(PARAMETERS, gradient.tensors(), strict=True):
                moments = (self.moments[f"{moment}.{name}"][i] for moment in ("exp_avg", "exp_avg_sq"))
                step = torch.zeros((), device=whole.device)
                for several, one in zip(lists, (getattr(sae, name).data[i], whole[i], *moments, step), strict=True):
                    several.append(one)

    def set_step(self, step: int) -> None:
        """Continue as after `step` steps; the moments are in `moments`, stacked as the parameters are."""
        for *_, steps in self._by_rate.values():
            for one in steps:
                one.fill_(step)

    def step(self, factor: float) -> None:
        """One step along the gradients, with the learning rates times `factor`."""
        for rate, (parameters, gradients, means, squares, steps) in self._by_rate.items():
            adam(
                parameters, gradients, means, squares, [], steps, fused=True, lr=rate * factor, beta1=BETA1,
                beta2=BETA2, eps=EPS, weight_decay=0.0, amsgrad=False, maximize=False,
            )  # fmt: skip

    def reset_features_(self, index: int, features: Tensor) -> None:
        """Forget the moments of features int64 [k] of the SAE `index`."""
        for key, moment in self.moments.items():
            if not key.endswith("b_dec"):
                moment[index, features] = 0


def gradient_norms(gradient: Gradients) -> Tensor:
    """‖∂L‖₂ over all parameters of each SAE: float32 [n]."""
    parts = [torch.linalg.vector_norm(tensor.flatten(start_dim=1), dim=1) for tensor in gradient.tensors()]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)


def clip_(gradient: Gradients, norms: Tensor, limit: float) -> None:
    """Scale each SAE's gradient down to norm `limit` where it is longer."""
    factor = (limit / norms).clamp(max=1)
    for tensor in gradient.tensors():
        tensor.mul_(factor.view(-1, *[1] * (tensor.dim() - 1)))
