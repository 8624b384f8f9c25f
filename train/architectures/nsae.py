"""The post's normalized SAE (NSAE): features bounded by tanh and regularised by noise, decoder rows of any norm.

    c = tanh(ReLU(W_enc (x − b_dec) + b_enc + ε)),   ε ~ N(0, σ²) in training only,   x̂ = c W_dec + b_dec

Its sparsity coefficient is α · (mean ‖x‖₂)², which scales as its squared error does (l1_power = 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from train.sae.elementwise import ElementwiseSAE, relu_backward
from train.sae.initialise import kaiming_uniform_, random_directions
from train.sae.l0_controller import ControlLaw
from train.sae.tensors import TensorSpec
from train.variants import NSAESettings

NOISE_FIRES = 1e-3  # probability that noise alone fires a restarted feature
START_BIAS = -4.0  # b_enc at the start, in units of σ: nearer to 0 noise fires all features, and L1 closes most of them
UNIT_RELU_TANH = 0.3  # E[tanh(ReLU(z)) z] for z ~ N(0, 1): a half-active, saturating feature's share along x


class NSAE(ElementwiseSAE):
    """A tanh(ReLU) SAE with noise. `SAE` has the shapes; sigma [...] is the noise's standard deviation σ."""

    variant = "nsae"
    Settings = NSAESettings
    untrained: ClassVar[Mapping[str, TensorSpec]] = {**ElementwiseSAE.untrained, "sigma": TensorSpec((), fill=1.0)}
    uses_noise = True
    needs_derivative = True
    fused_activation: ClassVar[Literal["relu", "tanh"] | None] = "tanh"
    l0_law = ControlLaw(integral=0.01, differential=2.0)
    settings: NSAESettings
    sigma: Tensor

    def first_control(self, *, mean_norm: float, l2_weight: float) -> float:
        rms = mean_norm / self.d_model**0.5
        return 0.003 * self.d_model * l2_weight * rms**2 / mean_norm**self.settings.l1_power

    def gate_(self, pre: Tensor, epsilon: Tensor | None) -> Tensor:
        """Add the noise σ · epsilon."""
        return pre if epsilon is None else pre.addcmul_(epsilon, self.sigma[..., None, None].to(pre.dtype))

    def activate(self, pre: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.tanh(torch.clamp(pre, min=0, out=out), out=out)

    def activation_backward(self, gradient: Tensor, c: Tensor, out: Tensor) -> Tensor:
        """Use tanh′ = 1 − c² where the ReLU is open."""
        relu_backward(gradient, c, gradient)
        return torch.ops.aten.tanh_backward.grad_input(gradient, c, grad_input=out)

    def derivative(self, pre: Tensor, out: Tensor) -> Tensor:
        """Use tanh′ = 1/cosh². In bfloat16 tanh is 1 from 3.5 on, where 1 − c² is 0 but tanh′ is still 0.004."""
        return torch.cosh(pre, out=out).pow_(-2)

    def initialise(self, *, seed: int, mean_norm: float) -> None:
        """Draw random directions, scaled so that pre-activations have unit scale, with biases of START_BIAS · σ.

        A direction's component of x is about ‖x‖/√d_model. The decoder's scale would make x̂ about x if half of the
        features were active: Σ cᵢ dᵢ ≈ d_sae · E[c z] · scale / √d_model · x/‖x‖. docs/training.md measures the effect.
        """
        directions = random_directions(self.d_sae, self.d_model, torch.Generator().manual_seed(seed))
        self.W_enc.copy_(directions * (self.d_model**0.5 / mean_norm))
        self.W_dec.copy_(directions * (mean_norm * self.d_model**0.5 / (UNIT_RELU_TANH * self.d_sae)))
        self.b_enc.fill_(START_BIAS * float(self.sigma))
        self.b_dec.zero_()

    def initialise_as_code(self, *, seed: int) -> None:
        """Draw both weights Kaiming-uniform with fan-in d_sae · d_model, PyTorch's for 3-D weights: a tiny start."""
        generator = torch.Generator().manual_seed(seed)
        for weight in (self.W_enc, self.W_dec):
            kaiming_uniform_(weight, fan_in=self.d_sae * self.d_model, generator=generator)
        self.b_enc.zero_()
        self.b_dec.zero_()

    def reset_features_(self, features: Tensor, x: Tensor, *, encoder_norm: float, decoder_norm: float) -> None:
        """Point both rows at the input, with a bias so low that noise alone fires the feature with NOISE_FIRES.

        With bias 0 and σ = 1 each feature would fire in half of the rows, and the L1 of thousands would swamp the loss.
        """
        direction = normalize(x, dim=-1)
        self.W_enc[features] = direction * encoder_norm
        self.W_dec[features] = direction * decoder_norm
        self.b_enc[features] = float(self.sigma) * torch.special.ndtri(torch.tensor(NOISE_FIRES)).item()
