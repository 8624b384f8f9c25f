"""Pack documents into contexts: pure arithmetic on a stream of tokens.

Documents are concatenated (each with its separator) and cut every `payload` tokens. There is no padding, and only the
tokens after the last whole context of a split are dropped. The documents with the smallest hashes are held out and
packed separately, so no context mixes the splits.
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

HeldOut = float | int | None  # a share of the contexts, a number of contexts, or the default


def heldout_target(n_contexts: int, asked: HeldOut) -> int:
    """Return how many contexts to hold out: as asked, at most half.

    The default is 1 %, raised to 200 contexts, but at most a tenth, and at least one context.
    """
    if asked is None:
        target = min(max(round(DEFAULT_SHARE * n_contexts), DEFAULT_LEAST), max(int(DEFAULT_MOST * n_contexts), 1))
    else:
        target = asked if isinstance(asked, int) else round(asked * n_contexts)
    return min(target, n_contexts // 2)


def choose_heldout(lengths: Int, hashes: NDArray[np.uint64], n_tokens: int, most: int) -> NDArray[np.bool_]:
    """Choose the documents with the smallest hashes until they have `n_tokens` tokens; return bool [n_documents].

    Documents with equal hashes (equal texts) stay together. Documents that would raise the held-out tokens above `most`
    are skipped, so that a corpus of few documents keeps a training split.
    """
    chosen = np.zeros(len(lengths), dtype=np.bool_)
    n_chosen = 0  # tokens
    if not len(lengths) or n_tokens <= 0:
        return chosen
    _, rank = np.unique(hashes, return_inverse=True)  # equal for equal hashes
    order = np.argsort(rank, kind="stable")
    bounds = np.flatnonzero(np.diff(rank[order], prepend=-1, append=-1))
    for lo, hi in pairwise(bounds):
        members = order[lo:hi]
        size = int(lengths[members].sum())
        if n_chosen + size <= most:
            chosen[members] = True
            n_chosen += size
        if n_chosen >= n_tokens:
            break
    return chosen


def pack(
    stream: NDArray[np.int32], lengths: Int, wanted: NDArray[np.bool_], *, payload: int, prefix: int | None,
    n_contexts: int,
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:  # fmt: skip
    """Yield the first `n_contexts` contexts of the wanted documents, as (tokens, document numbers).

    Both are int32 [n, context_size]. A context is `prefix`, if there is one, then `payload` tokens; the prefix counts
    as part of the document after it. `stream`: all documents one after another, int32 [n_tokens]; `lengths`: int64
    [n_documents]; `wanted`: bool [n_documents].
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
