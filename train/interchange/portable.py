"""A single trained SAE as a function of raw activations, with the normalisation of its inputs folded into its tensors.

    x ↦ (x − μ) / s:    W_enc / s,   W_dec · s,   b_dec · s + μ,   and b_enc − W_enc μ / s if b_dec is not subtracted

The feature activations c stay the same, so thresholds and tanh do too. Norms that each row has of its own cannot be
folded: they stay steps of the function.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from data.errors import InputError
from train.architectures.baseline import BaselineSAE
from train.architectures.batchtopk import BatchTopKSAE
from train.architectures.frozen import FrozenDecoderSAE
from train.architectures.gated import GatedSAE
from train.architectures.jumprelu import JumpReLUSAE
from train.architectures.matryoshka import MatryoshkaSAE
from train.architectures.nsae import NSAE
from train.architectures.p_anneal import PAnnealSAE
from train.architectures.relu import ReLUSAE
from train.architectures.topk import TopKSAE
from train.sae import SAE
from train.sae.pairwise import PairwiseSAE

Activation = Literal["relu", "tanh", "topk", "batchtopk", "jumprelu", "gated"]
ACTIVATIONS: dict[type[SAE], Activation] = {
    BaselineSAE: "relu", ReLUSAE: "relu", PAnnealSAE: "relu", NSAE: "tanh", TopKSAE: "topk", FrozenDecoderSAE: "topk",
    BatchTopKSAE: "batchtopk", MatryoshkaSAE: "batchtopk", JumpReLUSAE: "jumprelu", GatedSAE: "gated",
}  # fmt: skip


@dataclass(frozen=True)
class Gate:
    """The tensors of a gated SAE, [d_sae] each: gates π + b_gate > 0, magnitudes ReLU(exp(r_mag) π + b_mag)."""

    b_gate: Tensor
    b_mag: Tensor
    r_mag: Tensor


@dataclass(frozen=True)
class PortableSAE:
    """c = activation(π), π = W_enc (x − b_dec) + b_enc, x̂ = c W_dec + b_dec; all tensors float64.

    activation: "relu"; "tanh" of ReLU; "topk": the k largest of a row; "batchtopk": ReLU above one threshold;
        "jumprelu": π above a threshold per feature; "gated".
    W_enc, W_dec [d_sae, d_model], b_enc [d_sae], b_dec [d_model]; a gated SAE's π has no b_enc: it is 0.
    subtracts_bias: π is that of x − b_dec rather than of x.
    rows: x is first divided by ‖x‖/√d_model ("norm"), or by its entries' standard deviation + 1e-5 after their mean is
        subtracted ("deviation"); x̂ is turned back at the end.
    threshold: [d_sae] of "jumprelu", or [] of "batchtopk".
    contribution: what ReLU(π) is multiplied by before "topk" and "batchtopk" compare it [d_sae]; None: 1.
    k: the number of active features per row, of "topk" and "batchtopk".
    prefixes: number of features in each nested prefix of a Matryoshka SAE.
    rescaled: c is that of the trained SAE times this [d_sae]; None: 1.
    """

    activation: Activation
    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    subtracts_bias: bool = True
    rows: Literal["none", "norm", "deviation"] = "none"
    threshold: Tensor | None = None
    gate: Gate | None = None
    contribution: Tensor | None = None
    k: int | None = None
    prefixes: tuple[int, ...] = ()
    rescaled: Tensor | None = None

    @property
    def d_sae(self) -> int:
        """The number of features."""
        return self.W_enc.shape[0]

    @property
    def d_model(self) -> int:
        """The width of the activations."""
        return self.W_enc.shape[1]

    def with_thresholds(self) -> PortableSAE:
        """Return a "batchtopk" SAE as "jumprelu", and any other as it is: ReLU(π)‖d‖ > θ where π > θ/‖d‖, if θ ≥ 0."""
        if self.activation != "batchtopk":
            return self
        assert self.threshold is not None
        threshold = self.threshold.clamp(min=0).expand(self.d_sae)
        if self.contribution is not None:
            threshold = threshold / self.contribution  # infinite for a decoder row of zeros, which is never active
        return replace(self, activation="jumprelu", threshold=threshold, contribution=None)

    def with_unit_rows(self, by: Tensor | None = None) -> PortableSAE:
        """Return it with π and c multiplied by a positive number per feature, and W_dec's rows divided by it.

        by [d_sae]: the numbers; None: the norms of W_dec's rows. A row of norm 0 becomes a unit row of a feature that
        is never active. Raises ValueError for "tanh", whose c has no other scale.
        """
        if self.activation == "tanh":
            raise ValueError("c has no other scale after a tanh")
        scale = torch.linalg.vector_norm(self.W_dec, dim=1) if by is None else by
        zero = scale == 0
        decoder = self.W_dec / scale.where(~zero, 1.0)[:, None]
        decoder[zero] = torch.eye(1, self.d_model, dtype=decoder.dtype)
        threshold, gate = self.threshold, self.gate
        if self.activation == "jumprelu":
            assert threshold is not None
            threshold = (threshold * scale).where(~zero, 1.0)
        if gate is not None:
            gate = Gate(gate.b_gate * scale, gate.b_mag * scale, gate.r_mag)
        return replace(
            self, W_enc=self.W_enc * scale[:, None], b_enc=self.b_enc * scale, W_dec=decoder, threshold=threshold,
            gate=gate, rescaled=scale if self.rescaled is None else self.rescaled * scale,
        )  # fmt: skip

    def with_equal_contributions(self) -> PortableSAE:
        """Return it with features that "topk" and "batchtopk" compare by c itself."""
        if self.contribution is None:
            return self
        return replace(self.with_unit_rows(self.contribution), contribution=None)

    def with_bias_subtracted(self, subtracts: bool) -> PortableSAE:
        """Return it with π of x − b_dec, or of x: W_enc b_dec moves between the two biases."""
        if subtracts == self.subtracts_bias:
            return self
        moved = self.W_enc @ self.b_dec
        return replace(self, b_enc=self.b_enc + (moved if subtracts else -moved), subtracts_bias=subtracts)


def portable(sae: SAE) -> PortableSAE:
    """Return a single trained SAE as a function of raw activations.

    Raises InputError if its class is another package's, or if it subtracts a mean before rows are normalised.
    """
    activation = ACTIVATIONS.get(type(sae))
    if activation is None:
        raise InputError(
            f"--to: the variant {sae.variant!r} is another package's, and no format has a counterpart of it"
        )
    form, tensors = sae.input_form, {name: tensor.detach().double().cpu() for name, tensor in sae.tensors().items()}
    if form.rows != "none" and form.centred:
        raise InputError(
            "--to: the SAE subtracts the store's mean before it divides each row by its own norm, and no format has "
            "such inputs; train with --input-mean none to export"
        )
    scale = tensors["input_scale"] * (sae.d_model**0.5 if form.rows == "norm" else 1.0)
    mean = tensors.get("input_mean", torch.zeros(sae.d_model, dtype=torch.float64))
    subtracts = sae.subtracts_bias if isinstance(sae, PairwiseSAE) else True
    W_enc = tensors["W_enc"] / scale
    b_enc = tensors.get("b_enc", torch.zeros(sae.d_sae, dtype=torch.float64))
    gate = None
    if isinstance(sae, GatedSAE):
        gate = Gate(tensors["b_gate"], tensors["b_mag"], tensors["r_mag"])
    contribution = None
    if isinstance(sae, TopKSAE) and sae.weight() is not None:
        contribution = torch.linalg.vector_norm(tensors["W_dec"], dim=1)
    return PortableSAE(
        activation=activation,
        W_enc=W_enc,
        b_enc=b_enc if subtracts else b_enc - W_enc @ mean,
        W_dec=tensors["W_dec"] * scale,
        b_dec=tensors["b_dec"] * scale + mean,
        subtracts_bias=subtracts,
        rows=form.rows,
        threshold=tensors.get("threshold"),
        gate=gate,
        contribution=contribution,
        k=sae.settings.k if isinstance(sae, TopKSAE) else None,
        prefixes=tuple(sae.prefix_ends()) if isinstance(sae, MatryoshkaSAE) else (),
    )
