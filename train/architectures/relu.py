"""The ReLU SAE of Anthropic's update of April 2024: decoder rows of any norm, which the sparsity term counts in.

    c = ReLU(W_enc x + b_enc),   loss = ‖x − x̂‖² + λ Σ cᵢ ‖dᵢ‖

The encoder sees x without b_dec subtracted (`--subtract-bias` is false). Inputs are meant to be scaled so
that E‖x‖ = √d_model.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

from train.sae.entries import PreActivations
from train.sae.pairwise import PairwiseSAE
from train.sae.selection import Above
from train.sae.training_pass import LossInputs, TrainingPass
from train.variants import ReLUSettings


class ReLUSAE(PairwiseSAE):
    """A ReLU SAE with free decoder rows. `SAE` has the shapes."""

    variant = "relu"
    Settings = ReLUSettings
    settings: ReLUSettings

    def activations(self, x: Tensor, epsilon: Tensor | None = None) -> Tensor:
        return relu(self.pre_activations(x))

    def loss_on(self, encoded: PreActivations, x: Tensor, step: LossInputs) -> TrainingPass:
        active = encoded.select(Above(0.0))
        c = relu(active.pre)
        x_hat = active.decode(c, self.W_dec) + self.b_dec
        norms = active.spread(torch.linalg.vector_norm(self.W_dec, dim=-1))
        terms = {"l2": (x - x_hat).square().sum(dim=-1), "l1": step.beta * active.row_sums(c * norms)}
        return TrainingPass(x_hat, active.row_sums(c).detach(), active.counts(c), terms)
