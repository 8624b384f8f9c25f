"""A store's held-out rows of a hook, in the order in which they are stored, and the token that each belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from analyze.measure.positions import position_bins
from analyze.statistics.jackknife import effective_groups
from data.errors import StoreError
from data.store.reader import Store

Ints = NDArray[np.int64]

LONGEST_DOCUMENT = 512  # tokens


@dataclass(frozen=True)
class HeldoutRows:
    """A batch of held-out rows.

    x: float32 [n, d_model].
    group: int64 [n], the group of each row, or n_groups for a row that counts in no group.
    context: int64 [n], the index among the chosen contexts.
    position: int64 [n], the position in the context.
    """

    x: torch.Tensor
    group: Ints
    context: Ints
    position: Ints


class Heldout:
    """The held-out contexts of a store, or `n_contexts` of them.

    They are evenly spaced, because the first few contexts often come from a single document.

    Intervals are over groups: documents, or contexts if the store does not know of two documents. A document counts at
    most its first LONGEST_DOCUMENT tokens in the chosen contexts, because otherwise a few long documents would decide
    everything.

    contexts: int64 [n_contexts], their numbers in the store.
    excluded: ids of tokens whose rows are left out.
    unit: "document" or "context".
    n_groups, group_of: the count of groups, and each token's group, int64 [n_contexts, context_size]: 0 … n_groups − 1,
        or n_groups for the tokens of a document beyond its first LONGEST_DOCUMENT.
    shortened: whether there are such tokens.

    Raises StoreError if the store has no held-out rows.
    """

    def __init__(self, store: Store, n_contexts: int | None = None) -> None:
        self.store = store
        in_store = store.layout.n_heldout_contexts
        self.n_contexts = min(in_store, n_contexts or in_store)
        if not self.n_contexts or not store.shards("heldout"):
            raise StoreError(
                f"{store.path} has no held-out rows yet; continue the harvest with its command"
                if in_store and not store.complete
                else f"{store.path} has no held-out rows, because its text has too few documents, or --held-out was 0; "
                "harvest a store of more documents, or with a larger --held-out"
            )
        self.contexts = np.arange(self.n_contexts) * in_store // self.n_contexts
        document = store.documents(self.contexts)
        self.unit = "document" if len(np.unique(document)) > 1 else "context"
        if self.unit == "context":
            document = np.broadcast_to(self.contexts[:, None], document.shape)
        known, numbers = np.unique(document, return_inverse=True)
        self.group_of, self.n_groups = numbers.reshape(document.shape).astype(np.int64), len(known)
        beyond = _count_before(self.group_of) >= LONGEST_DOCUMENT
        self.shortened = self.unit == "document" and bool(beyond.any())
        if self.shortened:
            self.group_of[beyond] = self.n_groups
        self.excluded: tuple[int, ...] = ()

    def without_tokens(self, tokens: Sequence[int]) -> Heldout:
        """Return the same contexts without the rows of these tokens."""
        rest = Heldout(self.store, self.n_contexts)
        rest.excluded = (*self.excluded, *tokens)
        return rest

    def identity(self) -> list[str | int | None]:
        """Return what determines the rows, in JSON's types."""
        chosen = [self.store.fingerprint, self.n_contexts, int(self.contexts[-1])]
        return [*chosen, *sorted(self.store.left_out), *(f"without token {token}" for token in self.excluded)]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Each group's share of the tokens that count, float64 [n_groups]."""
        counts = np.bincount(self.group_of.ravel(), minlength=self.n_groups)[: self.n_groups]
        return counts / counts.sum()

    @property
    def effective_groups(self) -> float:
        """The number of groups of equal size that would weigh as much."""
        return effective_groups(self.shares)

    def describe_groups(self) -> dict[str, Any]:
        """Return the keys of JSON files that say what the intervals are over."""
        return {
            "unit": self.unit, "groups": self.n_groups, "effective_groups": self.effective_groups,
            "longest_document": LONGEST_DOCUMENT if self.shortened else None,
        }  # fmt: skip

    def groups_sentence(self) -> str:
        """Return what the intervals are over, for readers."""
        sizes = (
            f"{self.n_groups:,} {self.unit}s, which are as informative as {self.effective_groups:.1f} of equal length"
        )
        shortened = f" A document counts at most its first {LONGEST_DOCUMENT} tokens." if self.shortened else ""
        return f"Intervals are over {sizes}.{shortened}"

    @property
    def bins(self) -> list[tuple[str, int, int]]:
        """The bins of positions (see `position_bins`)."""
        return position_bins(self.store.schema.context_size)

    def tokens(self) -> NDArray[np.int32]:
        """Return the tokens of the chosen contexts: int32 [n_contexts, context_size]."""
        return self.store.tokens(self.contexts)

    def rows(self, hook: str, *, batch_size: int) -> Iterator[HeldoutRows]:
        """Yield the rows of a hook in batches of at most `batch_size` rows; no batch crosses a shard."""
        for shard, chosen, context, position in self._chosen_rows():
            for begin in range(0, len(chosen), batch_size):
                index = chosen[begin : begin + batch_size]
                x = torch.from_numpy(self.store.rows(hook, shard, index).astype(np.float32))
                yield HeldoutRows(x, self.group_of[context[index], position[index]], context[index], position[index])

    def _chosen_rows(self) -> Iterator[tuple[int, Ints, Ints, Ints]]:
        """Yield of each shard its number, the indices of its chosen rows, and each row's context and position.

        The context of a row that is not chosen is −1.
        """
        number = np.full(self.store.layout.n_heldout_contexts, -1)
        number[self.contexts] = np.arange(self.n_contexts)
        counted = ~np.isin(self.tokens(), self.excluded) if self.excluded else None
        for shard in self.store.shards("heldout"):
            in_store, position = (origin.astype(np.int64) for origin in self.store.origin(shard))
            context = number[in_store]
            chosen = np.flatnonzero(context >= 0)
            if counted is not None:
                chosen = chosen[counted[context[chosen], position[chosen]]]
            yield shard, chosen, context, position

    def row_numbers(self, rows: HeldoutRows) -> Ints:
        """Return the numbers that rows have among all held-out rows of the store: int64 [n]."""
        schema = self.store.schema
        return self.contexts[rows.context] * schema.layout.rows_per_context + rows.position - schema.skip_positions

    def n_rows(self) -> int:
        """Return the count of rows of each hook."""
        if not self.store.left_out and not self.excluded:
            return self.n_contexts * self.store.layout.rows_per_context
        return sum(len(chosen) for _, chosen, _, _ in self._chosen_rows())


def _count_before(groups: Ints) -> Ints:
    """Return how many earlier tokens have the same group: int64, of the shape of `groups`."""
    flat = groups.ravel()
    order = np.argsort(flat, kind="stable")
    ranks = np.arange(len(flat)) - np.searchsorted(flat[order], flat[order])
    before = np.empty_like(flat)
    before[order] = ranks
    return before.reshape(groups.shape)
