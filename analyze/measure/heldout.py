"""A store's held-out rows of a hook, in the order in which they are stored, and where each comes from.

Not here: what is measured of them (measures.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from analyze.measure.positions import position_bins
from data.errors import StoreError
from data.store.reader import Store

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """x float32 [n, d]; group int64 [n], what is resampled together (0 … groups − 1); context, position int64 [n].

    `context` counts the contexts that are looked at.
    """

    x: torch.Tensor
    group: Ints
    context: Ints
    position: Ints


class Heldout:
    """The held-out contexts of a store, or `n_contexts` of them, evenly spaced.

    Evenly, because contexts stand in the order of documents, and a long document fills many in a row: the first few
    would be of hardly more than one. `contexts` int64 [contexts] are their numbers in the store; `group_of` int64
    [contexts, context_size] numbers what is resampled: documents, or contexts where the store knows of no two
    documents. Raises StoreError where the store has no held-out rows.
    """

    def __init__(self, store: Store, n_contexts: int | None = None) -> None:
        self.store = store
        of_all = store.layout.n_heldout_contexts
        self.n_contexts = min(of_all, n_contexts or of_all)
        if not self.n_contexts or not store.shards("heldout"):
            raise StoreError(
                f"{store.path} has no held-out rows yet; continue the harvest with its command"
                if of_all and not store.complete
                else f"{store.path} has no held-out rows, because its text has too few documents, or --held-out was 0; "
                "harvest a store of more documents, or with a larger --held-out"
            )
        self.contexts = np.arange(self.n_contexts) * of_all // self.n_contexts
        document = store.documents(self.contexts)
        self.unit = "document" if len(np.unique(document)) > 1 else "context"
        if self.unit == "context":
            document = np.broadcast_to(self.contexts[:, None], document.shape)
        known, numbers = np.unique(document, return_inverse=True)
        self.group_of, self.n_groups = numbers.reshape(document.shape).astype(np.int64), len(known)

    def identity(self) -> list[str | int | None]:
        """What it is, in JSON's types."""
        about = [self.store.fingerprint, self.n_contexts, int(self.contexts[-1])]
        return [*about, *sorted(self.store.left_out)]

    @property
    def bins(self) -> list[tuple[str, int, int]]:
        """Of the contexts' positions: see `position_bins`."""
        return position_bins(self.store.schema.context_size)

    def tokens(self) -> NDArray[np.int32]:
        """int32 [contexts, context_size]."""
        return self.store.tokens(self.contexts)

    def rows(self, hook: str, *, batch_size: int) -> Iterator[Rows]:
        """Batches of at most so many rows; none crosses a shard."""
        number = np.full(self.store.layout.n_heldout_contexts, -1)
        number[self.contexts] = np.arange(self.n_contexts)
        for shard in self.store.shards("heldout"):
            in_store, position = (origin.astype(np.int64) for origin in self.store.origin(shard))
            context = number[in_store]
            kept = np.flatnonzero(context >= 0)
            for begin in range(0, len(kept), batch_size):
                index = kept[begin : begin + batch_size]
                x = torch.from_numpy(self.store.rows(hook, shard, index).astype(np.float32))
                yield Rows(x, self.group_of[context[index], position[index]], context[index], position[index])

    def n_rows(self) -> int:
        if not self.store.left_out:
            return self.n_contexts * self.store.layout.rows_per_context
        origins = (self.store.origin(shard)[0] for shard in self.store.shards("heldout"))
        return sum(int(np.isin(context, self.contexts).sum()) for context in origins)
