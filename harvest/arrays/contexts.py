"""The division of arrays' rows into contexts, and the choice of held-out contexts.

Contexts that share a document are held out together, so no document is in both splits. Without document numbers, each
context counts as a document; contexts of a single row are then counted in groups of ROWS_PER_DOCUMENT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data.errors import InputError
from data.permutation import hashes
from harvest.arrays.array import FLOATS, ArrayInFile, name_of
from harvest.text.packing import HeldOut, choose_heldout, heldout_target

Int = NDArray[np.int64]

ROWS_PER_DOCUMENT = 64
SPLIT_SEED = 0x5350  # of the choice of held-out documents, which does not depend on --seed


@dataclass(frozen=True)
class ContextShape:
    """The division of the rows of arrays into contexts.

    n: contexts. size: tokens per context. skip: first positions without rows in the store. in_file: rows per context in
    the arrays: `size`, or without those of the skipped positions.
    """

    n: int
    size: int
    skip: int
    in_file: int

    @property
    def rows_per_context(self) -> int:
        """Rows per context in the store."""
        return self.size - self.skip

    def read(self, array: ArrayInFile, contexts: Int) -> torch.Tensor:
        """Return the rows of contexts, int64 [k], in their order: float32 [k × rows_per_context, d]."""
        cuts = np.flatnonzero(np.diff(contexts) != 1) + 1
        factor = 1 if len(array.shape) == 3 else self.in_file
        parts = [array.read(int(run[0]) * factor, (int(run[-1]) + 1) * factor) for run in np.split(contexts, cuts)]
        rows = (parts[0] if len(parts) == 1 else torch.cat(parts)).view(len(contexts), self.in_file, array.shape[-1])
        return rows[:, self.in_file - self.rows_per_context :].flatten(0, 1).to(torch.float32)


def context_shape(
    arrays: Mapping[str, ArrayInFile], tokens: tuple[int, ...] | None, *, size: int | None, skip: int
) -> ContextShape:
    """Return how the rows of arrays [rows, d] or [contexts, rows per context, d] are divided.

    tokens: shape of the token ids, [contexts, tokens] or [rows]. size: tokens per context, if it is given.
    Raises InputError if the arrays have other shapes or types than activations, or do not fit one another.
    """
    _check_activations(arrays)
    axes = next(iter(arrays.values())).shape[:-1]
    if tokens is not None and len(tokens) == 2:
        if size not in (None, tokens[1]):
            raise InputError(f"--context-size {size}: --token-ids has {tokens[1]} tokens per context; leave it out")
        size = tokens[1]
    if size is None:
        size = 1 if len(axes) == 1 else axes[1]
        if tokens is not None and len(axes) == 2 and tokens[0] == axes[0] * (size + skip):
            size += skip  # the arrays lack the skipped positions
    if skip >= size:
        raise InputError(f"--skip-positions {skip}: leaves nothing of a context of {size}; give less")
    if tokens is not None and tokens[0] % (1 if len(tokens) == 2 else size):
        raise InputError(f"--token-ids: its {tokens[0]:,} tokens are not whole contexts of {size}; correct one of them")
    n_tokens = None if tokens is None else tokens[0] if len(tokens) == 2 else tokens[0] // size
    in_file = _rows_in_file(axes, n_tokens, size, skip)
    n = axes[0] if len(axes) == 2 else axes[0] // in_file
    if n_tokens not in (None, n):
        raise InputError(f"--token-ids: has {n_tokens:,} contexts of {size} tokens, and the activations {n:,}")
    return ContextShape(n, size, skip, in_file)


def _check_activations(arrays: Mapping[str, ArrayInFile]) -> None:
    first_name, first = next(iter(arrays.items()))
    for name, array in arrays.items():
        if array.dtype not in FLOATS or len(array.shape) not in (2, 3) or not all(array.shape):
            raise InputError(
                f"--activations {array.path}: {name} has the shape {list(array.shape)} in {name_of(array.dtype)}; give "
                "float16, bfloat16 or float32 of the shape [rows, d] or [contexts, tokens, d]"
            )
        if array.shape[:-1] != first.shape[:-1]:
            raise InputError(
                f"--activations: {first_name} has the shape {list(first.shape)} and {name} {list(array.shape)}; give "
                "the same rows of every hook, or choose hooks with --hook"
            )


def _rows_in_file(axes: tuple[int, ...], n_tokens: int | None, size: int, skip: int) -> int:
    """Return the rows per context in the arrays: `size`, or without the skipped positions. Raises InputError."""
    if len(axes) == 2:
        if axes[1] not in (size, size - skip):
            remedy = f"give --skip-positions {size - axes[1]}" if axes[1] < size else "leave it out"
            raise InputError(f"--context-size {size}: the activations have {axes[1]} rows per context; {remedy}")
        return axes[1]
    in_file = size - skip if skip and n_tokens is not None and axes[0] == n_tokens * (size - skip) else size
    if axes[0] % in_file:
        whole = axes[0] // in_file * in_file
        raise InputError(
            f"--context-size {size}: the {axes[0]:,} rows of the activations are not whole contexts of {in_file} rows; "
            f"leave out the last {axes[0] - whole} of them in the file, or give another size"
        )
    return in_file


def default_documents(shape: ContextShape) -> NDArray[np.int32]:
    """Return document numbers where none are known: int32 [n], one per context."""
    return (np.arange(shape.n) // (ROWS_PER_DOCUMENT if shape.size == 1 else 1)).astype(np.int32)


@dataclass(frozen=True)
class Split:
    """The contexts of the files in the order of the store, int64 [n]: the first n_heldout are held out.

    left_out: contexts that are in no split, because a document of theirs is held out.
    """

    contexts: Int
    n_heldout: int
    left_out: int = 0


def choose_split(documents: NDArray[np.int32], held_out: HeldOut) -> Split:
    """Choose the contexts to hold out, by document; documents: int32 [n] or [n, tokens].

    If documents chain nearly all contexts together, as in packed text, the last contexts are held out, and those before
    them that share a document with them are left out. Raises InputError if no training context is left.
    """
    by_context = documents.reshape(len(documents), -1)
    n = len(by_context)
    target = heldout_target(n, held_out)
    groups = connected(by_context)
    lengths = np.bincount(groups)
    chosen = choose_heldout(lengths, hashes(np.arange(len(lengths)), SPLIT_SEED), target, most=n // 2)[groups]
    if chosen.sum() >= target / 2:
        order = np.concatenate([np.flatnonzero(chosen), np.flatnonzero(~chosen)])
        return Split(order, int(chosen.sum()))
    heldout = np.arange(n - target, n)
    train = np.flatnonzero(~np.isin(by_context[: n - target], by_context[heldout]).any(axis=1))
    if not len(train):
        raise InputError("--documents: all contexts share a document, so none can be held out; give --held-out 0")
    return Split(np.concatenate([heldout, train]), target, n - target - len(train))


def connected(documents: NDArray[np.int32]) -> Int:
    """Number the groups of contexts that documents [n, k] connect, from 0: int64 [n]."""
    n, k = documents.shape
    _, document = np.unique(documents, return_inverse=True)
    pairs = np.unique(np.stack([document.reshape(-1), np.repeat(np.arange(n), k)]), axis=1) if k > 1 else None
    document, context = (document.reshape(-1), np.arange(n)) if pairs is None else pairs
    label = np.arange(n)
    while True:
        lowest = np.full(int(document.max()) + 1, n)
        np.minimum.at(lowest, document, label[context])
        lower = label.copy()
        np.minimum.at(lower, context, lowest[document])
        lower = lower[lower]  # labels are contexts, so this halves the length of a chain
        if (lower == label).all():
            return np.unique(label, return_inverse=True)[1].astype(np.int64)
        label = lower
