"""The interface between a step and a block's features, and the choice of their form: dense or sparse.

After encoding, an inactive feature contributes nothing. So when few are active, the rest of the step uses only the
active (row, feature) pairs (sparse.py), else whole matrices (dense.py). Both compute the same sums in another order, so
the choice changes results by rounding only. It is made for each SAE and block from the number of active pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Protocol

from torch import Tensor

# Fraction of active pairs at which sparse and dense products cost the same: on a CPU a constant, measured by
# benchmarks/train/train_step.py --density; on a GPU one of these, measured when an experiment begins (tune_density.py).
CPU_MAX_SPARSE_DENSITY = 0.075
DENSITIES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)


class PreGradient(Protocol):
    """g = ∂L/∂pre of k SAEs on some rows: [k, rows, d_sae], 0 where a feature is inactive."""

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        """Add gᵀ rows to total [k, d_sae, d_model], or if `first` write it there. rows: [k, rows, d_model]."""

    def add_sum_(self, total: Tensor) -> None:
        """Add Σ g over the rows to total [k, d_sae]."""


class Features(Protocol):
    """c of k SAEs on some rows: [k, rows, d_sae]."""

    def l1(self) -> Tensor:
        """Return ‖c‖₁ of each row: [k, rows]."""

    def decode(self, W_dec: Tensor) -> Tensor:
        """Return c W_dec: [k, rows, d_model]."""

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        """Add cᵀ rows to total [k, d_sae, d_model], or if `first` write it there. rows: [k, rows, d_model]."""

    def backward_(self, dx_hat: Tensor, W_dec: Tensor, dl1: Tensor) -> PreGradient:
        """Return ∂L/∂pre from dx_hat = ∂L/∂x̂ [k, rows, d_model] and dl1 = ∂L/∂‖c‖₁ [k, rows].

        It may be written over c, so it must be the last use of these features.
        """


class EncodedBlock(Protocol):
    """A block of rows, encoded by n SAEs.

    fires int64 [n, d_sae]: the number of rows in which each feature is active. fires_without_noise: the same, noise
    off.
    """

    @property
    def n_rows(self) -> int: ...

    @property
    def fires(self) -> Tensor: ...

    @property
    def fires_without_noise(self) -> Tensor: ...

    def dense(self, saes: slice) -> Features:
        """Return c of some of the SAEs as matrices."""

    def sparse(self, saes: slice) -> Features:
        """Return c of some of the SAEs as its active pairs."""


def features_by_density(block: EncodedBlock, threshold: float) -> Iterator[tuple[slice, Features]]:
    """Yield consecutive SAEs of a block and their c, each in the form that is faster at its density."""
    for saes, is_dense in split_by_density(block.fires, n_rows=block.n_rows, threshold=threshold):
        yield saes, block.dense(saes) if is_dense else block.sparse(saes)


def split_by_density(fires: Tensor, *, n_rows: int, threshold: float) -> Iterator[tuple[slice, bool]]:
    """Yield runs of consecutive SAEs, and whether their density of active pairs is above `threshold`.

    fires int64 [n, d_sae]: the number of the `n_rows` rows in which each feature is active. With threshold 0 all are
    dense, and nothing waits for the counts.
    """
    limit = threshold * n_rows * fires.shape[1]
    dense = [count > limit for count in fires.sum(dim=-1).tolist()] if threshold else [True] * len(fires)
    for is_dense, group in groupby(range(len(dense)), key=dense.__getitem__):
        indices = list(group)
        yield slice(indices[0], indices[-1] + 1), is_dense
