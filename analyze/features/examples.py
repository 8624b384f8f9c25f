"""The stretches of text that show a feature: its strongest contexts, and samples by the size of the activation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analyze.features.activations import ActivePositions
from analyze.features.record import Example, FiringToken, Quantile


class Contexts:
    """The held-out contexts that examples are cut from.

    numbers: int64 [contexts], their numbers in the store.
    tokens: int32 [contexts, positions].
    before, after: tokens of an example on each side of the firing one, fewer at the ends of a context.
    """

    def __init__(
        self, numbers: NDArray[np.int64], tokens: NDArray[np.int32], *, before: int = 20, after: int = 20
    ) -> None:
        self._numbers, self._tokens = numbers, tokens
        self._before, self._after = before, after

    def strongest(self, active: ActivePositions, n: int) -> list[Example]:
        """Return the n contexts with the largest activations of a feature, each at its maximum."""
        if not len(active.place):
            return []
        context = active.place // self._tokens.shape[1]
        by_activation = np.argsort(-active.activation, kind="stable")
        _, first = np.unique(context[by_activation], return_index=True)
        return self._examples(active, by_activation[np.sort(first)[:n]])

    def quantiles(
        self, active: ActivePositions, n: int, n_per_quantile: int, rng: np.random.Generator
    ) -> list[Quantile]:
        """Return n intervals of a feature's activations, the largest first, with up to `n_per_quantile` positions."""
        if not len(active.place):
            return []
        edges = np.linspace(0, float(active.activation.max()), n + 1)
        interval = np.searchsorted(edges, active.activation, side="left") - 1
        quantiles = []
        for i in reversed(range(n)):
            members = np.flatnonzero(interval == i)
            picked = rng.choice(members, min(n_per_quantile, len(members)), replace=False)
            picked = picked[np.argsort(-active.activation[picked], kind="stable")]
            quantiles.append(
                Quantile(float(edges[i]), float(edges[i + 1]), len(members), self._examples(active, picked))
            )
        return quantiles

    def firing_tokens(self, active: ActivePositions, n: int) -> list[FiringToken]:
        """Return the n tokens with the largest sums of a feature's activations."""
        ids, index, count = np.unique(self._tokens.ravel()[active.place], return_inverse=True, return_counts=True)
        sums = np.bincount(index, weights=active.activation, minlength=len(ids))
        largest = np.argsort(-sums, kind="stable")[:n]
        return [FiringToken(int(ids[i]), int(count[i]), float(sums[i] / sums.sum())) for i in largest]

    def _examples(self, active: ActivePositions, indices: Sequence[int] | NDArray[np.int64]) -> list[Example]:
        """Return the tokens around some of a feature's active positions, by index."""
        size = self._tokens.shape[1]
        examples = []
        for place in active.place[indices].tolist():
            context, position = divmod(place, size)
            begin, end = max(0, position - self._before), min(size, position + self._after + 1)
            within = slice(*np.searchsorted(active.place, [context * size + begin, context * size + end]))
            c = np.zeros(end - begin, dtype=np.float32)
            c[active.place[within] - context * size - begin] = active.activation[within]
            tokens = self._tokens[context, begin:end].copy()
            examples.append(Example(int(self._numbers[context]), position, begin, tokens, c))
        return examples


def histogram(activation: NDArray[np.float32], bins: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Count activations above 0: return edges float64 [bins + 1] and counts int64 [bins]."""
    largest = float(activation.max()) if len(activation) else 1.0
    counts, edges = np.histogram(activation, bins=bins, range=(0, largest))
    return edges, counts
