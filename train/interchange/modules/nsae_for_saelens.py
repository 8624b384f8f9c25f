"""NSAE for SAELens: import this file, then `SAE.load_from_disk(FOLDER)` loads the SAE beside it.

    c = tanh(ReLU((x − b_dec) W_enc + b_enc)),   x̂ = c W_dec + b_dec

It needs SAELens and PyTorch alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from sae_lens import register_sae_class
from sae_lens.registry import SAE_CLASS_REGISTRY
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig


@dataclass
class NSAEConfig(StandardSAEConfig):
    """The settings of a standard SAE."""

    @classmethod
    def architecture(cls) -> str:
        return "nsae"


class NSAE(StandardSAE):
    """A standard SAE with bounded features."""

    def get_activation_fn(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda pre: torch.tanh(torch.relu(pre))

    def fold_W_dec_norm(self) -> None:
        raise NotImplementedError("norms of the decoder cannot be folded through a tanh")


if "nsae" not in SAE_CLASS_REGISTRY:
    register_sae_class("nsae", NSAE, NSAEConfig)
