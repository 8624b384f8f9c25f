"""The baseline of the post (Bricken et al. 2023): ReLU features, decoder directions of unit norm.

    c = ReLU(W_enc (x − b_dec) + b_enc),   x̂ = c W_dec + b_dec,   ‖W_dec[i]‖₂ = 1

The norm is held after every optimizer step, and gradients lose their component along the direction first. (In the
author's code the renormalisation comes before the step, so that the constraint lags by one.)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from train.sae.base import SAE, kaiming_uniform_, random_directions, relu_backward


class BaselineSAE(SAE):
    """See the module. Shapes: `SAE`."""

    variant = "baseline"
    l1_power = 0
    fused_activation = "relu"
    unit_decoder = True

    def activate(self, pre: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.clamp(pre, min=0, out=out)

    def activation_backward(self, gradient: Tensor, c: Tensor, out: Tensor) -> Tensor:
        return relu_backward(gradient, c, out)

    def initialise(self, *, seed: int, mean_norm: float) -> None:
        """Random directions in the decoder, and in the encoder the same, scaled so that x̂ is about x.

        Of d_sae random directions half are active, so Σ cᵢ dᵢ ≈ scale · d_sae / (2 d_model) · x.
        """
        directions = random_directions(self.d_sae, self.d_model, torch.Generator().manual_seed(seed))
        self.W_dec.copy_(directions)
        self.W_enc.copy_(directions * (2 * self.d_model / self.d_sae))
        self.b_enc.zero_()
        self.b_dec.zero_()

    def initialise_as_code(self, *, seed: int) -> None:
        """Kaiming-uniform encoder with the fan-in m·n that PyTorch takes of 3-D weights; normal decoder, normalised."""
        generator = torch.Generator().manual_seed(seed)
        kaiming_uniform_(self.W_enc, fan_in=self.d_sae * self.d_model, generator=generator)
        self.W_dec.copy_(random_directions(self.d_sae, self.d_model, generator))
        self.b_enc.zero_()
        self.b_dec.zero_()

    def reset_features_(self, features: Tensor, x: Tensor, *, encoder_norm: float, decoder_norm: float) -> None:
        """Encoder and decoder point at the input, and the bias is zero."""
        direction = normalize(x, dim=-1)
        self.W_enc[features] = direction * encoder_norm
        self.W_dec[features] = direction
        self.b_enc[features] = 0
