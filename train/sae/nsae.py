"""The post's normalized SAE: features bounded by tanh and regularised by noise, decoder directions of any norm.

    c = tanh(ReLU(W_enc (x − b_dec) + b_enc + ε)),   ε ~ N(0, σ²) in training only,   x̂ = c W_dec + b_dec

Its sparsity coefficient is α · (mean ‖x‖₂)², the scale of its squared error (l1_power = 2).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from train.sae.base import SAE, kaiming_uniform_, random_directions, relu_backward

NOISE_FIRES = 1e-3  # how often noise alone may fire a restarted feature
START_BIAS = -4.0  # of b_enc at the start, in units of σ: nearer to 0, noise fires all, and L1 then closes most of them
UNIT_RELU_TANH = 0.3  # mean of tanh(ReLU(z)) z over z ~ N(0, 1): what half-active, saturating features pass on


class NSAE(SAE):
    """See the module. Shapes: `SAE`; `sigma` [...] is the noise's standard deviation."""

    variant = "nsae"
    l1_power = 2
    fused_activation = "tanh"
    uses_noise = True
    needs_derivative = True
    constants = (*SAE.constants, "sigma")

    def __init__(self, *stack: int, d_model: int, d_sae: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(*stack, d_model=d_model, d_sae=d_sae, dtype=dtype)
        self.register_buffer("sigma", torch.ones(stack, dtype=dtype))
        self.sigma: Tensor

    def gate_(self, pre: Tensor, epsilon: Tensor | None) -> Tensor:
        return pre if epsilon is None else pre.addcmul_(epsilon, self.sigma[..., None, None].to(pre.dtype))

    def activate(self, pre: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.tanh(torch.clamp(pre, min=0, out=out), out=out)

    def activation_backward(self, gradient: Tensor, c: Tensor, out: Tensor) -> Tensor:
        """tanh′ = 1 − c² where the ReLU is open."""
        relu_backward(gradient, c, gradient)
        return torch.ops.aten.tanh_backward.grad_input(gradient, c, grad_input=out)

    def derivative(self, pre: Tensor, out: Tensor) -> Tensor:
        """1/cosh²: in bfloat16 tanh is 1 from 3.5 on, where 1 − c² is still 0.004 and keeps the L1 pulling."""
        return torch.cosh(pre, out=out).pow_(-2)

    def initialise(self, *, seed: int, mean_norm: float) -> None:
        """Random directions, scaled so that pre-activations have unit scale; biases far below 0 (START_BIAS).

        A direction's component of x is about ‖x‖/√d_model. The decoder's scale would make x̂ about x if half of the
        features were active: Σ cᵢ dᵢ ≈ d_sae · E[c z] · scale / √d_model · x/‖x‖. docs/training.md says what it gains.
        """
        directions = random_directions(self.d_sae, self.d_model, torch.Generator().manual_seed(seed))
        self.W_enc.copy_(directions * (self.d_model**0.5 / mean_norm))
        self.W_dec.copy_(directions * (mean_norm * self.d_model**0.5 / (UNIT_RELU_TANH * self.d_sae)))
        self.b_enc.fill_(START_BIAS * float(self.sigma))
        self.b_dec.zero_()

    def initialise_as_code(self, *, seed: int) -> None:
        """Kaiming-uniform both, with the fan-in m·n that PyTorch takes of 3-D weights: a tiny start."""
        generator = torch.Generator().manual_seed(seed)
        for weight in (self.W_enc, self.W_dec):
            kaiming_uniform_(weight, fan_in=self.d_sae * self.d_model, generator=generator)
        self.b_enc.zero_()
        self.b_dec.zero_()

    def reset_features_(self, features: Tensor, x: Tensor, *, encoder_norm: float, decoder_norm: float) -> None:
        """Both rows point at the input; the bias is so low that noise alone seldom fires the feature.

        With bias 0 and σ = 1 each would fire half the time, and the L1 of thousands would swamp the loss.
        """
        direction = normalize(x, dim=-1)
        self.W_enc[features] = direction * encoder_norm
        self.W_dec[features] = direction * decoder_norm
        self.b_enc[features] = float(self.sigma) * torch.special.ndtri(torch.tensor(NOISE_FIRES)).item()
