"""NSAE without one of its parts, as plug-ins of `train` (docs/results/comparison.md).

    train --variant benchmarks/comparison/ablations.py:NSAEWithoutTanh …
    analyze --plugin benchmarks/comparison/ablations.py:NSAEWithoutTanh report …

NSAE without noise needs no plug-in: `train --variant nsae --sigma 0`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from train.architectures.nsae import NSAE, UNIT_RELU_TANH
from train.sae.elementwise import relu_backward

UNIT_RELU = 0.5  # E[ReLU(z) z] for z ~ N(0, 1)


class NSAEWithoutTanh(NSAE):
    """c = ReLU(W_enc (x − b_dec) + b_enc + ε), with NSAE's noise and free decoder norms.

    Without the noise its loss would have no minimum: c divided by any factor, and W_dec multiplied by it, has a lower
    L1 and the same reconstruction.
    """

    variant = "nsae-without-tanh"
    needs_derivative = False
    fused_activation = "relu"

    def activate(self, pre: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.clamp(pre, min=0, out=out)

    def activation_backward(self, gradient: Tensor, c: Tensor, out: Tensor) -> Tensor:
        return relu_backward(gradient, c, out)

    def initialise(self, *, seed: int, mean_norm: float) -> None:
        super().initialise(seed=seed, mean_norm=mean_norm)
        self.W_dec.mul_(UNIT_RELU_TANH / UNIT_RELU)
