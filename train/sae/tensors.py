"""The tensors of an SAE: their shapes, which of them are trained, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Axis = Literal["d_sae", "d_model"]


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a single SAE.

    axes: its axes, such as ("d_sae", "d_model"), or their lengths; () for a number.
    fill: its entries before initialisation.
    unit_rows: its rows [d_model] are kept at norm 1: the gradient loses its component along a row before a step, and
        the row is divided by its norm after it.
    """

    axes: tuple[Axis | int, ...]
    fill: float = 0.0
    unit_rows: bool = False

    def shape(self, *, d_model: int, d_sae: int) -> tuple[int, ...]:
        """Return the lengths of its axes."""
        lengths = {"d_model": d_model, "d_sae": d_sae}
        return tuple(axis if isinstance(axis, int) else lengths[axis] for axis in self.axes)

    @property
    def per_feature(self) -> bool:
        """True if it has an entry or a row per feature, which a restart of the feature sets anew."""
        return "d_sae" in self.axes


UNIT_ROWS = TensorSpec(("d_sae", "d_model"), unit_rows=True)
LINEAR_MAPS: dict[str, TensorSpec] = {
    "W_enc": TensorSpec(("d_sae", "d_model")),
    "b_enc": TensorSpec(("d_sae",)),
    "W_dec": TensorSpec(("d_sae", "d_model")),
    "b_dec": TensorSpec(("d_model",)),
}


@dataclass(frozen=True)
class Gradients:
    """∂L/∂ each trained tensor of n stacked SAEs, in the tensors' shapes [n, …]. All stacks use the memory in turn."""

    by_name: Mapping[str, Tensor]

    @classmethod
    def allocate(
        cls, n: int, *, d_model: int, d_sae: int, device: torch.device, dtype: torch.dtype = torch.float32,
        trained: Mapping[str, TensorSpec] = LINEAR_MAPS,
    ) -> Gradients:  # fmt: skip
        """Return gradients of 0."""
        shapes = {name: spec.shape(d_model=d_model, d_sae=d_sae) for name, spec in trained.items()}
        return cls({name: torch.zeros(n, *shape, dtype=dtype, device=device) for name, shape in shapes.items()})

    def __getitem__(self, name: str) -> Tensor:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def tensors(self) -> list[Tensor]:
        """List them in their order."""
        return list(self.by_name.values())

    def narrow(self, n: int, trained: Mapping[str, TensorSpec] = LINEAR_MAPS) -> Gradients:
        """Return the part of the first n SAEs with these trained tensors, which shares this memory."""
        return Gradients({name: self.by_name[name][:n] for name in trained})

    # Hot code of the two linear maps reads better with these.
    @property
    def W_enc(self) -> Tensor:
        return self.by_name["W_enc"]

    @property
    def b_enc(self) -> Tensor:
        return self.by_name["b_enc"]

    @property
    def W_dec(self) -> Tensor:
        return self.by_name["W_dec"]

    @property
    def b_dec(self) -> Tensor:
        return self.by_name["b_dec"]
