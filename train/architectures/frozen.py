"""The random-decoder control: TopK whose decoder stays at its random start, so only the encoder and the biases learn.

What another architecture gains over it is what learning the decoder adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from train.architectures.topk import TopKSAE
from train.sae.tensors import LINEAR_MAPS, TensorSpec
from train.variants import FrozenSettings


class FrozenDecoderSAE(TopKSAE):
    """A TopK SAE whose W_dec is not trained. `SAE` has the shapes."""

    variant = "frozen"
    Settings = FrozenSettings
    trained: ClassVar[Mapping[str, TensorSpec]] = {name: spec for name, spec in LINEAR_MAPS.items() if name != "W_dec"}
    untrained: ClassVar[Mapping[str, TensorSpec]] = {**TopKSAE.untrained, "W_dec": LINEAR_MAPS["W_dec"]}
