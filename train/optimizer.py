"""Adam for a stack of SAEs, each with its own learning rate, by PyTorch's fused kernel.

PyTorch has one learning rate for a group of parameters, so each SAE's slice of a stacked parameter is a parameter of
its own; they share the stack's memory, and so do the moments.

Not here: the schedule (schedule.py), the gradients (step.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train.sae import PARAMETERS, SAE, Gradients


class StackAdam:
    """Adam (Kingma and Ba 2015) with PyTorch's defaults; `lr` has one learning rate an SAE."""

    def __init__(self, sae: SAE, gradient: Gradients, lr: Sequence[float]) -> None:
        self.lr = list(lr)
        self.moments = {
            f"{moment}.{name}": torch.zeros_like(getattr(sae, name))
            for moment in ("exp_avg", "exp_avg_sq")
            for name in PARAMETERS
        }
        slices: dict[float, list[nn.Parameter]] = {}
        self._slices: list[tuple[nn.Parameter, Tensor, dict[str, Tensor]]] = []
        for i, rate in enumerate(self.lr):
            for name, whole in zip(PARAMETERS, gradient.tensors(), strict=True):
                parameter = nn.Parameter(getattr(sae, name).data[i])
                state = {key: self.moments[f"{key}.{name}"][i] for key in ("exp_avg", "exp_avg_sq")}
                self._slices.append((parameter, whole[i], state))
                slices.setdefault(rate, []).append(parameter)
        self._adam = torch.optim.Adam(
            [{"params": parameters, "lr": rate} for rate, parameters in slices.items()], fused=True
        )
        self.set_step(0)

    def set_step(self, step: int) -> None:
        """Continue as after `step` steps; the moments are in `moments`, stacked as the parameters are."""
        for parameter, _, state in self._slices:
            self._adam.state[parameter] = {"step": torch.tensor(float(step), device=parameter.device), **state}

    def step(self, factor: float) -> None:
        """One step along the gradients, with the learning rates times `factor`."""
        for group, rate in zip(self._adam.param_groups, dict.fromkeys(self.lr), strict=True):
            group["lr"] = rate * factor
        for parameter, gradient, _ in self._slices:
            parameter.grad = gradient
        self._adam.step()

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
