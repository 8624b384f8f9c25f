"""SAEs whose loss is a function of a few entries of the pre-activations: those that are active, or nearly so.

    π = W_enc (x − b_dec) + b_enc

An architecture states in `loss_on` which entries of π these are, and its loss on them. Its definition puts whole
matrices in; the sparse step (train/step/autograd.py) puts the selected pairs in, so that after the encoder's product
its work goes with their number. PyTorch differentiates both.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from train.sae.base import SAE
from train.sae.entries import DenseRows, PreActivations
from train.sae.initialise import random_directions
from train.sae.tensors import LINEAR_MAPS, TensorSpec
from train.sae.training_pass import LossInputs, TrainingPass


class PairwiseSAE(SAE):
    """An SAE with a loss on selected entries. `SAE` has the shapes.

    Three settings mean the same in every architecture that has them: `unit_decoder`, `subtract_bias` and `start_norm`.

    An architecture states, beside what `SAE` asks for:
    encoder_bias: name of the bias in π; None: π has none.
    """

    encoder_bias: ClassVar[str | None] = "b_enc"

    @classmethod
    def trained_with(cls, settings: Any) -> Mapping[str, TensorSpec]:
        free = not getattr(settings, "unit_decoder", True)
        return {**cls.trained, "W_dec": LINEAR_MAPS["W_dec"]} if free else cls.trained

    @property
    def subtracts_bias(self) -> bool:
        """True if the encoder sees x − b_dec rather than x."""
        return getattr(self.settings, "subtract_bias", True)

    @property
    def most_pairs_per_row(self) -> float | None:
        """The most pairs per row in the sparse step; None: any number, so the step may be one of whole matrices."""
        return None

    def encoder_inputs(self, x: Tensor) -> Tensor:
        """Return what the encoder multiplies, from normalised inputs [..., rows, d_model]."""
        return x - self.b_dec[..., None, :] if self.subtracts_bias else x

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return π [..., rows, d_sae] of normalised inputs."""
        product = self.encoder_inputs(x) @ self.W_enc.mT
        return product if self.encoder_bias is None else product + getattr(self, self.encoder_bias)[..., None, :]

    def compared(self, x: Tensor) -> Tensor:
        return self.pre_activations(x)

    def set_threshold_(self, threshold: float) -> None:
        assert self.encoder_bias is not None
        getattr(self, self.encoder_bias).sub_(threshold)

    def contributions(self, pre: Tensor) -> Tensor:
        """Return what entries of pre [..., rows, d_sae] are compared by, where only the largest are active."""
        return pre

    def training_pass(self, x: Tensor, step: LossInputs) -> TrainingPass:
        return self.loss_on(DenseRows(self.pre_activations(x), step.rows, step.split), x, step)

    @abstractmethod
    def loss_on(self, encoded: PreActivations, x: Tensor, step: LossInputs) -> TrainingPass:
        """Return the forward pass and the loss's terms from the entries that it selects, for x [rows, d_model].

        x is normalised. Entries that are not selected must contribute nothing to the terms or their gradients.
        """

    def initialise(self, *, seed: int, mean_norm: float) -> None:
        """Draw random directions for the rows of decoder and encoder; the rest is filled anew."""
        directions = random_directions(self.d_sae, self.d_model, torch.Generator().manual_seed(seed))
        norm = getattr(self.settings, "start_norm", 1.0)
        free = "W_dec" in self.specs and not self.specs["W_dec"].unit_rows
        self.W_dec.copy_(directions * (norm if free else 1.0))
        self.W_enc.copy_(directions * norm)
        for name, spec in self.specs.items():
            if name not in ("W_enc", "W_dec"):
                getattr(self, name).fill_(spec.fill)

    def reset_features_(self, features: Tensor, x: Tensor, *, encoder_norm: float, decoder_norm: float) -> None:
        """Point encoder and decoder rows at the input; the feature's other parameters start anew."""
        direction = normalize(x, dim=-1)
        for name, spec in self.specs.items():
            if name == "W_enc":
                self.W_enc[features] = direction * encoder_norm
            elif name == "W_dec":
                self.W_dec[features] = direction * (1.0 if spec.unit_rows else decoder_norm)
            elif spec.per_feature:
                getattr(self, name)[features] = spec.fill
