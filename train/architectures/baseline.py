"""The post's baseline (Bricken et al. 2023): ReLU features with decoder directions of unit norm.

    c = ReLU(W_enc (x − b_dec) + b_enc),   x̂ = c W_dec + b_dec,   ‖W_dec[i]‖₂ = 1

Each optimizer step is along the gradient without its component along W_dec[i], and W_dec[i] is divided by its norm
after it. (The author's code divides before the step, so there the constraint lags by one step.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from train.sae.elementwise import ElementwiseSAE, relu_backward
from train.sae.initialise import kaiming_uniform_, random_directions
from train.sae.tensors import LINEAR_MAPS, UNIT_ROWS, TensorSpec
from train.variants import BaselineSettings


class BaselineSAE(ElementwiseSAE):
    """A ReLU SAE with unit decoder rows. `SAE` has the shapes."""

    variant = "baseline"
    Settings = BaselineSettings
    trained: ClassVar[Mapping[str, TensorSpec]] = {**LINEAR_MAPS, "W_dec": UNIT_ROWS}
    fused_activation = "relu"

    def activate(self, pre: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.clamp(pre, min=0, out=out)

    def activation_backward(self, gradient: Tensor, c: Tensor, out: Tensor) -> Tensor:
        return relu_backward(gradient, c, out)

    def initialise(self, *, seed: int, mean_norm: float) -> None:
        """Set the decoder to random directions, and the encoder to the same, scaled so that x̂ is about x.

        Half of d_sae random directions are active, so Σ cᵢ dᵢ ≈ scale · d_sae / (2 d_model) · x.
        """
        directions = random_directions(self.d_sae, self.d_model, torch.Generator().manual_seed(seed))
        self.W_dec.copy_(directions)
        self.W_enc.copy_(directions * (2 * self.d_model / self.d_sae))
        self.b_enc.zero_()
        self.b_dec.zero_()

    def initialise_as_code(self, *, seed: int) -> None:
        """Draw a Kaiming-uniform encoder, with fan-in d_sae · d_model (PyTorch's for 3-D weights), and directions."""
        generator = torch.Generator().manual_seed(seed)
        kaiming_uniform_(self.W_enc, fan_in=self.d_sae * self.d_model, generator=generator)
        self.W_dec.copy_(random_directions(self.d_sae, self.d_model, generator))
        self.b_enc.zero_()
        self.b_dec.zero_()

    def reset_features_(self, features: Tensor, x: Tensor, *, encoder_norm: float, decoder_norm: float) -> None:
        """Point encoder and decoder rows at the input, and set the bias to 0."""
        direction = normalize(x, dim=-1)
        self.W_enc[features] = direction * encoder_norm
        self.W_dec[features] = direction
        self.b_enc[features] = 0
