"""The random draws with which SAEs are initialised, on the CPU, so every device starts the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def random_directions(n: int, d: int, generator: torch.Generator) -> Tensor:
    """Draw n directions, uniform on the sphere: float32 [n, d]."""
    return nn.functional.normalize(torch.randn(n, d, generator=generator), dim=-1)


def kaiming_uniform_(weight: Tensor, *, fan_in: int, generator: torch.Generator) -> None:
    """Fill `weight` from U(−b, b), b = √(6 / fan_in): He et al. 2015, as PyTorch's `kaiming_uniform_` for ReLU."""
    bound = (6 / fan_in) ** 0.5
    weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))
