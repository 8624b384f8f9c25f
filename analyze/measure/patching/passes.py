"""Sums over the positions of forward passes, compared with the clean pass, and the measures that they give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyze.measure.heldout import Ints
from analyze.statistics.jackknife import Float
from train.measures import Measure, compute

SUMS, DONE = "sums", "contexts done"


@dataclass(frozen=True)
class PassSums:
    """Sums of one pass over positions: float64 arrays of one shape."""

    positions: Float  # count of positions that the pass replaced; for the clean pass, of all positions
    loss: Float
    kl: Float
    agreement: Float
    l0: Float

    @classmethod
    def of_columns(cls, sums: Float) -> PassSums:
        """Name the columns of sums [..., COLUMNS]."""
        return cls(*np.moveaxis(sums, -1, 0))


COLUMNS = tuple(field.name for field in fields(PassSums))
POSITIONS = COLUMNS.index("positions")


@dataclass(frozen=True)
class ComparedPasses:
    """The sums of the four passes that the formulas of train/measures.py compare, over the same positions."""

    clean: PassSums
    zero: PassSums
    mean: PassSums
    patched: PassSums


def patch_measures(
    measures: Iterable[Measure], clean: Float, zero: Float, mean: Float, patched: Float
) -> dict[str, Float]:
    """Return measures by name, [...] each, from the four passes' sums [..., COLUMNS] over the same positions."""
    passes = ComparedPasses(*map(PassSums.of_columns, (clean, zero, mean, patched)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return compute(measures, passes)


class Reference:
    """The clean pass over some contexts, which other passes are compared with."""

    def __init__(self, logits: Tensor, tokens: Tensor) -> None:
        """logits: [b, context, vocabulary]. tokens: int64 [b, context]."""
        clean = logits[:, :-1]
        self._targets = tokens[:, 1:, None]
        logarithms = torch.log_softmax(clean.float(), dim=-1)
        self._p = logarithms.exp()
        self._likeliest = clean.argmax(dim=-1)
        self._logarithms = logarithms

    def compare(self, logits: Tensor) -> Tensor:
        """Return the terms of all COLUMNS but l0, at each position but the last: float64 [b, context − 1, 4]."""
        logarithms = torch.log_softmax(logits[:, :-1].float(), dim=-1)
        loss = -logarithms.gather(-1, self._targets)[..., 0]
        agreement = logits[:, :-1].argmax(dim=-1) == self._likeliest
        # Subtract before the sum over the vocabulary: the difference of two sums is mostly rounding where KL is small.
        kl = _dot(self._p, torch.sub(self._logarithms, logarithms, out=logarithms))
        return torch.stack([torch.ones_like(loss), loss, kl, agreement.to(loss.dtype)], dim=-1).double()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the dot products over the vocabulary, without their terms in memory: [b, t, V] twice → [b, t]."""
    return torch.einsum("btv,btv->bt", a, b)


class Pass(NamedTuple):
    """A forward pass. `name` is what replaces the activation: "zero", "mean" or a run; in the "clean" pass, nothing."""

    name: str
    hook: str = ""
    noise: bool = False


CLEAN = Pass("clean")


class PatchSums:
    """Accumulates the sums of each pass by group.

    by_pass: float64 [groups + 1, COLUMNS] by pass; the last entry is of the positions that count in no group.
    done: number of contexts in the sums of each pass.
    """

    def __init__(self, n_groups: int) -> None:
        self._n_groups = n_groups
        self.by_pass: dict[Pass, Float] = {}
        self.done: dict[Pass, int] = {}

    def begin(self, key: Pass, arrays: Mapping[str, NDArray[Any]] | None) -> None:
        """Begin a pass with the sums in the arrays of `to_arrays`, or for None with none."""
        empty = np.zeros((self._n_groups + 1, len(COLUMNS)))
        self.by_pass[key] = empty if arrays is None else arrays[SUMS]
        self.done[key] = 0 if arrays is None else int(arrays[DONE])

    def to_arrays(self, key: Pass) -> dict[str, NDArray[Any]]:
        """Return the sums of a pass by name, with the number of contexts in them."""
        return {SUMS: self.by_pass[key], DONE: np.array(self.done[key])}

    def by_group(self, key: Pass) -> Float:
        """Return the sums of a pass by group, float64 [groups, COLUMNS]."""
        return self.by_pass[key][: self._n_groups]

    def add(self, key: Pass, terms: Tensor, group: Ints, l0: Tensor | None = None) -> None:
        """Add the terms [b, t, 4] of b contexts' positions, of the groups [b, t], and their active features [b, t]."""
        if key not in self.by_pass:
            self.begin(key, None)
        counts = torch.zeros_like(terms[..., 0]) if l0 is None else l0
        columns = torch.cat([terms, counts[..., None]], dim=-1)
        np.add.at(self.by_pass[key], group.reshape(-1), columns.reshape(-1, len(COLUMNS)).cpu().numpy())
        self.done[key] += len(terms)
