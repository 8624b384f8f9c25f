"""The features of synthetic activations: their directions, how often each fires, and which ones fire together.

The structure is that of SynthSAEBench (Chanin and Garriga-Alonso 2026, arXiv 2602.14687); the code and some choices are
this project's own.

- *Heavy tail.* Free feature j fires with probability max(p_min, p_max (j + 1)^−exponent).
- *Correlation.* Free feature j fires if √v ⟨w_j, u⟩ + √(1 − v) e < Φ⁻¹(p_j), where u [rank] and e are standard normal
  and w_j has norm 1: a Gaussian copula of low rank with shared variance v.
- *Hierarchy.* The first `n_roots` free features have trees of children. A child fires only if its parent does, and at
  most one child of a parent fires: child k of a firing parent does with probability child_share · (k + 1)^−exponent,
  divided by the sum of these powers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from data.errors import InputError


@dataclass(frozen=True)
class SyntheticFeatures:
    """The features that synthetic activations are sums of. The defaults are a small case, with an L0 of 4.

    n_features: their number; with d_model below it they are in superposition.
    d_model: width of the activations.
    p_max, p_min, exponent: of the firing probabilities.
    rank, shared_variance: number of factors that correlate the free features, and their share of the variance.
    n_roots, n_children, depth: number of trees, of children per parent, and of levels below a root; 0 roots: no trees.
    child_share: probability that one of the children fires, if the parent does.
    amount_spread: standard deviation of the logarithm of a firing feature's amount, whose mean is 1.
    offset: norm of a constant vector that is added to each row.
    noise: root mean square norm of the normal noise that is added to each row.
    seed: seed of the directions, the factors and the offset.

    Raises InputError if the numbers are impossible.
    """

    n_features: int = 128
    d_model: int = 32
    p_max: float = 0.26
    p_min: float = 1e-3
    exponent: float = 0.65
    rank: int = 8
    shared_variance: float = 0.25
    n_roots: int = 8
    n_children: int = 2
    depth: int = 2
    child_share: float = 0.7
    amount_spread: float = 0.25
    offset: float = 0.5
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_features", "d_model", "rank", "n_children"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: give at least 1")
        for name in ("p_min", "p_max", "shared_variance", "child_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} {getattr(self, name)}: give a number from 0 to 1")
        for name in ("exponent", "n_roots", "depth", "amount_spread", "offset", "noise"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} {getattr(self, name)}: give 0 or more")
        if self.n_free < max(self.n_roots, 1):
            raise InputError(
                f"n_features {self.n_features}: {self.n_roots} trees have {self.n_features - self.n_free} children; "
                "give more features, or fewer or smaller trees"
            )

    @property
    def n_free(self) -> int:
        """Number of features without a parent; they come first."""
        return self.n_features - self.n_roots * sum(self.n_children**level for level in range(1, self.depth + 1))

    @property
    def n_parents(self) -> int:
        """Number of features with children, roots included."""
        return self.n_roots * sum(self.n_children**level for level in range(self.depth))

    def first_child(self, parents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first child of each of some features; its siblings follow it. −1 for features without children.

        The parents in ascending order are the roots and then the children that have children, level by level.
        """
        order = np.where(parents < self.n_roots, parents, parents - self.n_free + self.n_roots)
        has_children = (order < self.n_parents) & ((parents < self.n_roots) | (parents >= self.n_free))
        return np.where(has_children, self.n_free + self.n_children * order, -1)

    @cached_property
    def child_probabilities(self) -> NDArray[np.float64]:
        """The probability of each child of a firing parent: float64 [n_children]."""
        weights = np.arange(1, self.n_children + 1) ** -self.exponent
        return self.child_share * weights / weights.sum()

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """The probability with which each feature fires: float64 [n_features]."""
        values = np.zeros(self.n_features)
        powers = np.arange(1, self.n_free + 1) ** -self.exponent
        values[: self.n_free] = np.minimum(np.maximum(self.p_max * powers, self.p_min), 1)
        for parent in (*range(self.n_roots), *range(self.n_free, self.n_features)):
            child = int(self.first_child(np.array(parent)))
            if child >= 0:
                values[child : child + self.n_children] = values[parent] * self.child_probabilities
        return values

    @property
    def l0(self) -> float:
        """The expected number of features that fire in a row."""
        return float(self.probabilities.sum())

    @cached_property
    def directions(self) -> torch.Tensor:
        """Unit vectors, uniform on the sphere: float32 [n_features, d_model]."""
        return self._unit_vectors(self.n_features, self.d_model, stream=0)

    @cached_property
    def factors(self) -> torch.Tensor:
        """The loadings w of the free features: float32 [n_free, rank]."""
        return self._unit_vectors(self.n_free, self.rank, stream=1)

    @cached_property
    def constant(self) -> torch.Tensor:
        """The vector that is added to each row: float32 [d_model], of norm `offset`."""
        return self.offset * self._unit_vectors(1, self.d_model, stream=2)[0]

    def _unit_vectors(self, n: int, d: int, *, stream: int) -> torch.Tensor:
        normal = np.random.default_rng([self.seed, stream]).standard_normal((n, d))
        return torch.from_numpy(normal / np.linalg.norm(normal, axis=1, keepdims=True)).float()


SYNTHETIC_16K = SyntheticFeatures(
    n_features=16_384, d_model=768, p_max=0.4, p_min=5e-4, exponent=0.65, rank=25,
    n_roots=128, n_children=4, depth=3, child_share=0.8, amount_spread=0.15,
)  # fmt: skip
