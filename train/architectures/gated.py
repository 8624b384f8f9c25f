"""Gated SAE (Rajamanoharan et al. 2024, arXiv 2404.16014): gates decide which features are active, magnitudes how much.

    π_gate = W_enc (x − b_dec) + b_gate,   c = H(π_gate) ⊙ ReLU(exp(r_mag) ⊙ W_enc (x − b_dec) + b_mag)
    loss = ‖x − x̂‖² + λ ‖ReLU(π_gate)‖₁ + ‖x − (ReLU(π_gate) W_dec + b_dec)‖²

In the last term W_dec and b_dec have no gradient (`--aux-decoder stopped`), as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import relu

from train.sae.entries import PreActivations
from train.sae.pairwise import PairwiseSAE
from train.sae.selection import Above
from train.sae.tensors import LINEAR_MAPS, UNIT_ROWS, TensorSpec
from train.sae.training_pass import LossInputs, TrainingPass
from train.variants import GatedSettings


class GatedSAE(PairwiseSAE):
    """A gated SAE with unit decoder rows. `SAE` has the shapes; b_gate, b_mag, r_mag [..., d_sae] replace b_enc."""

    variant = "gated"
    Settings = GatedSettings
    trained: ClassVar[Mapping[str, TensorSpec]] = {
        "W_enc": LINEAR_MAPS["W_enc"],
        "b_gate": TensorSpec(("d_sae",)),
        "b_mag": TensorSpec(("d_sae",)),
        "r_mag": TensorSpec(("d_sae",)),
        "W_dec": UNIT_ROWS,
        "b_dec": LINEAR_MAPS["b_dec"],
    }
    encoder_bias = None
    settings: GatedSettings
    b_gate: Tensor
    b_mag: Tensor
    r_mag: Tensor

    def activations(self, x: Tensor, epsilon: Tensor | None = None) -> Tensor:
        pre = self.pre_activations(x)
        magnitude = relu(self.r_mag[..., None, :].exp() * pre + self.b_mag[..., None, :])
        return magnitude * (pre + self.b_gate[..., None, :] > 0)

    def compared(self, x: Tensor) -> Tensor:
        pre = self.pre_activations(x)
        magnitude = self.r_mag[..., None, :].exp() * pre + self.b_mag[..., None, :]
        return (pre + self.b_gate[..., None, :]).masked_fill(magnitude <= 0, -torch.inf)

    def set_threshold_(self, threshold: float) -> None:
        self.b_gate.sub_(threshold)

    def loss_on(self, encoded: PreActivations, x: Tensor, step: LossInputs) -> TrainingPass:
        gates, stopped = encoded.select(Above(-self.b_gate.detach())), self.settings.aux_decoder == "stopped"
        gate = relu(gates.pre + gates.spread(self.b_gate))
        magnitude = relu(gates.spread(self.r_mag.exp()) * gates.pre + gates.spread(self.b_mag))
        c = magnitude * (gate > 0)
        x_hat = gates.decode(c, self.W_dec) + self.b_dec
        W_dec, b_dec = (self.W_dec.detach(), self.b_dec.detach()) if stopped else (self.W_dec, self.b_dec)
        by_gate = gates.decode(gate, W_dec) + b_dec
        weighted = gate
        if self.settings.l1_weight == "decoder-norm":
            weighted = gate * gates.spread(torch.linalg.vector_norm(self.W_dec, dim=-1))
        terms = {
            "l2": (x - x_hat).square().sum(dim=-1),
            "l1": step.beta * gates.row_sums(weighted),
            "aux": (x - by_gate).square().sum(dim=-1),
        }
        return TrainingPass(x_hat, gates.row_sums(c).detach(), gates.counts(c), terms)
