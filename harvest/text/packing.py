"""Documents into contexts: pure arithmetic on a stream of tokens.

Documents follow one another (each with its separator) and are cut every `payload` tokens: no padding, and no token
lost but those after the last whole context of a split. Whole documents are held out, those with the smallest hashes,
and packed into contexts of their own, so no context mixes the splits.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]

DEFAULT_SHARE = 0.01
DEFAULT_LEAST = 200  # contexts
DEFAULT_MOST = 0.1
BLOCK_TOKENS = 1 << 20

HeldOut = float | int | None  # a share of the contexts (float), a number of contexts (int), or the default


def heldout_target(n_contexts: int, asked: HeldOut) -> int:
    """How many contexts to hold out, at most half.

    The default is 1 %, at least 200 contexts, but at most a tenth (at least one context).
    """
    if asked is None:
        target = min(max(round(DEFAULT_SHARE * n_contexts), DEFAULT_LEAST), max(int(DEFAULT_MOST * n_contexts), 1))
    else:
        target = asked if isinstance(asked, int) else round(asked * n_contexts)
    return min(target, n_contexts // 2)


def choose_heldout(lengths: Int, hashes: NDArray[np.uint64], n_tokens: int, most: int) -> NDArray[np.bool_]:
    """The documents with the smallest hashes, until they have `n_tokens` tokens: bool [n_documents].

    Equal hashes (the same text twice) stay together. Documents that would take the held-out tokens over `most` are
    passed over, so a corpus of few documents keeps a training split.
    """
    chosen = np.zeros(len(lengths), dtype=np.bool_)
    have = 0
    if not len(lengths) or n_tokens <= 0:
        return chosen
    _, groups = np.unique(hashes, return_inverse=True)  # groups are numbered in the order of their hashes
    order = np.argsort(groups, kind="stable")
    bounds = np.flatnonzero(np.diff(groups[order], prepend=-1, append=-1))
    for lo, hi in pairwise(bounds):
        members = order[lo:hi]
        size = int(lengths[members].sum())
        if have + size <= most:
            chosen[members] = True
            have += size
        if have >= n_tokens:
            break
    return chosen


def pack(
    stream: NDArray[np.int32], lengths: Int, wanted: NDArray[np.bool_], *, payload: int, prefix: int | None,
    n_contexts: int,
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:  # fmt: skip
    """The first `n_contexts` contexts of the wanted documents.

    stream: int32 [n_tokens], all documents one after another; lengths: int64 [n_documents]; wanted: bool
    [n_documents]. Yields (tokens, document): int32 [k, context_size] each, in order. A context is `prefix`, if there
    is one (it counts as part of the document that follows), then `payload` tokens.
    """
    ends = np.cumsum(lengths)
    held_tokens, held_documents = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)
    first, done = 0, 0
    while first < len(lengths) and done < n_contexts:
        start = int(ends[first] - lengths[first])
        last = max(int(np.searchsorted(ends, start + BLOCK_TOKENS, side="right")), first + 1)
        keep = np.repeat(wanted[first:last], lengths[first:last])
        documents = np.repeat(np.arange(first, last, dtype=np.int32), lengths[first:last])
        held_tokens = np.concatenate([held_tokens, stream[start : ends[last - 1]][keep]])
        held_documents = np.concatenate([held_documents, documents[keep]])
        n = min(len(held_tokens) // payload, n_contexts - done)
        tokens = held_tokens[: n * payload].reshape(n, payload)
        document = held_documents[: n * payload].reshape(n, payload)
        if prefix is not None:
            tokens = np.concatenate([np.full((n, 1), prefix, dtype=np.int32), tokens], axis=1)
            document = np.concatenate([document[:, :1], document], axis=1)
        if n:
            yield tokens, document
        held_tokens, held_documents = held_tokens[n * payload :], held_documents[n * payload :]
        first, done = last, done + n
