"""The features of one SAE that an export writes, and the names that other tools give to the SAE."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from analyze.features.unembedding import Unembedding
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from data.hooks import layer_of
from data.store.reader import Store


@dataclass(frozen=True)
class SAEFeatures:
    """Features of one SAE, and the held-out rows that they are measured on.

    fires: the rows in which each feature fires, noise off.
    numbers: the features to write, ascending.
    unembedding: that of the store's model; None if no logits are measured.
    seed: of the samples of examples.
    """

    heldout: Heldout
    fires: FeatureActivity
    numbers: Sequence[int]
    unembedding: Unembedding | None
    seed: int = 0
    device: torch.device | str = "cpu"

    @property
    def store(self) -> Store:
        return self.heldout.store

    @property
    def hook(self) -> str:
        return self.fires.hook

    @property
    def run(self) -> str:
        return self.fires.run.name

    @property
    def layer(self) -> int:
        """The hook's block; 0 for a hook before the blocks."""
        return layer_of(self.hook) or 0

    @property
    def dead(self) -> list[int]:
        """The features that fire in no row."""
        return [int(number) for number in torch.nonzero(~self.fires.all.live)[:, 0]]

    @property
    def model_id(self) -> str:
        """The language model's name, of letters, digits, `-`, `_` and `.`."""
        return as_name(self.store.model_name)

    @property
    def set_name(self) -> str:
        """The name of the SAEs of a run at the same hook of all layers, of letters, digits, `-`, `_` and `.`."""
        return as_name(f"{self.hook.rsplit('hook_', 1)[-1]}-{self.run}")


def as_name(text: str) -> str:
    """Return a text as a name in an address: letters, digits, `-`, `_` and `.`, with `-` for anything else.

    Two underscores become one, because Neuronpedia takes what follows them as no part of the name.
    """
    return re.sub(r"__+", "_", re.sub(r"[^A-Za-z0-9_.]+", "-", text)).strip("-")
