"""The facts of one feature, free of display. measure.py measures them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Example:
    """A stretch of a context around a position where the feature is active.

    context: the context's number in the store.
    position: the position of the firing token in the context.
    begin: the position of the first token of the stretch.
    tokens: int32 [n]; −1 is a token that the store does not know.
    activations: the feature's activations there, float32 [n].
    """

    context: int
    position: int
    begin: int
    tokens: NDArray[np.int32]
    activations: NDArray[np.float32]

    @property
    def activation(self) -> float:
        """The activation at `position`."""
        return float(self.activations[self.position - self.begin])


@dataclass(frozen=True)
class Quantile:
    """The positions with an activation in (low, high], with a sample of them.

    The quantiles of a feature are intervals of equal width between 0 and its largest activation.

    count: how many positions there are.
    examples: a random sample of them, by falling activation.
    """

    low: float
    high: float
    count: int
    examples: Sequence[Example]


@dataclass(frozen=True)
class FiringToken:
    """A token on which a feature fires: its id (−1: unknown), how often, and its share of all activation."""

    id: int
    count: int
    share: float


@dataclass(frozen=True)
class TokenLogits:
    """Tokens whose logits the feature's direction changes most, the largest change first.

    ids: int64 [n]. values: logits up to a positive factor (unembedding.py), float32 [n].
    """

    ids: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Neighbour:
    """Another live feature of the same SAE, and the cosine of the two decoder directions."""

    number: int
    cosine: float


@dataclass(frozen=True)
class FeatureRecord:
    """The facts of one feature on held-out rows, noise off.

    run, hook, number: the SAE, and the feature's number in it.
    kinds: names among "pillar", "direction" and "correction" (measure/dictionary.py).
    rows, fired: the count of rows, and of those in which the feature is active.
    norm: the norm of its row of W_dec, in the SAE's own scale.
    largest: the largest activation; 0 for a dead feature.
    edges, counts: the histogram of activations above 0: float64 [bins + 1], int64 [bins].
    top_logits, bottom_logits: the tokens that it raises and lowers most; None without the language model, or if the
        hook is not in the residual stream's space.
    neighbours: the nearest live features, by falling cosine.
    tokens: the tokens with the largest sums of activations, the largest first.
    strongest: the contexts with the largest activations, each at its maximum.
    quantiles: from the largest activations to the smallest.
    """

    run: str
    hook: str
    number: int
    kinds: tuple[str, ...]
    rows: int
    fired: int
    norm: float
    largest: float
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    top_logits: TokenLogits | None
    bottom_logits: TokenLogits | None
    neighbours: Sequence[Neighbour]
    tokens: Sequence[FiringToken]
    strongest: Sequence[Example]
    quantiles: Sequence[Quantile]

    @property
    def density(self) -> float:
        """The share of rows in which the feature is active."""
        return self.fired / self.rows
