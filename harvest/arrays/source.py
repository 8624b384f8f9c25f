"""Activations in arrays as contexts: their rows, tokens and documents in the order of a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harvest.arrays.array import ArrayInFile
from harvest.arrays.contexts import ContextShape, Split

TOKEN_CONTEXTS = 4096  # contexts whose tokens are written at once


@dataclass(frozen=True)
class ArraySource:
    """Activations in arrays, divided into contexts.

    arrays: by hook. documents: int32 [contexts of the files] or [contexts, tokens]. tokens: int32 [contexts, tokens];
    None: unknown. unknown: what the store cannot tell (data/FORMAT.md). model, dataset: their names, if they are known.
    """

    arrays: dict[str, ArrayInFile]
    shape: ContextShape
    split: Split
    tokens: NDArray[np.int32] | None
    documents: NDArray[np.int32]
    unknown: list[str]
    model: str | None = None
    dataset: str | None = None

    def rows(self, first: int, last: int) -> dict[str, torch.Tensor]:
        """Return the rows of the store's contexts `first` to `last` − 1: hook → float32 [rows, d]."""
        return {hook: self.shape.read(array, self.split.contexts[first:last]) for hook, array in self.arrays.items()}

    def contexts(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Yield tokens and document numbers, int32 [k, tokens] each, of all contexts in the order of the store."""
        for first in range(0, len(self.split.contexts), TOKEN_CONTEXTS):
            part = self.split.contexts[first : first + TOKEN_CONTEXTS]
            shape = (len(part), self.shape.size)
            tokens = np.full(shape, -1, dtype=np.int32) if self.tokens is None else self.tokens[part]
            documents = self.documents[part].reshape(len(part), -1)
            yield np.ascontiguousarray(tokens), np.ascontiguousarray(np.broadcast_to(documents, shape))

    def provenance(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the store records of its origin."""
        tokens = {"context_size": self.shape.size, "n_contexts": len(self.split.contexts), "unknown": self.unknown}
        return {
            "settings": dict(settings),
            "model": {} if self.model is None else {"name": self.model},
            "tokens": tokens if self.dataset is None else {"dataset": self.dataset, **tokens},
        }
