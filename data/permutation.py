"""Permutations that are pure functions of integers: no generator state, the same in every library version.

A 64-bit hash (the finaliser of SplitMix64, Steele et al. 2014) gives each index a key; sorting the keys orders the
indices. The index itself sits in the key's low bits, so keys never tie and no argsort is needed.

Not here: what is permuted (deal.py, order.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
UInt = NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def mix(x: UInt) -> UInt:
    """SplitMix64's finaliser, elementwise: uint64 of any shape, overwritten and returned."""
    shifted = x >> np.uint64(30)
    x ^= shifted
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= np.right_shift(x, np.uint64(27), out=shifted)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= np.right_shift(x, np.uint64(31), out=shifted)
    return x


def seed_of(*key: int) -> int:
    """Fold integers (a seed, an epoch, a group …) into one 64-bit seed; the order of the arguments matters."""
    state = 0
    for part in key:
        salted = np.array([(state * GOLDEN + (part & MASK) + GOLDEN) & MASK], dtype=np.uint64)
        state = int(mix(salted)[0])
    return state


def hashes(index: Int, seed: int) -> UInt:
    """A 64-bit hash of each non-negative index under a seed."""
    offset = np.uint64((seed * GOLDEN + GOLDEN) & MASK)
    keys = index.astype(np.uint64)
    keys *= np.uint64(GOLDEN)
    keys += offset
    return mix(keys)


def shuffled_rows(index: Int, seed: int) -> Int:
    """Permute 0 … m−1 once for each row of `index` [n, m], by the hashes of that row's entries: int64 [n, m]."""
    keys, low = _keys(hashes(index, seed))
    keys.sort(axis=-1)
    keys &= low
    return keys.view(np.int64)


def permutation(n: int, *key: int) -> Int:
    """A permutation of 0 … n−1 drawn from the integers in `key`: int64 [n]."""
    keys, low = _keys(hashes(np.arange(n, dtype=np.int64), seed_of(*key)))
    # Sorted by radix along the first 16 bits, then merged as what is nearly in order: a third of one sort's time.
    keys = keys[np.argsort((keys >> np.uint64(48)).astype(np.uint16), kind="stable")]
    keys.sort(kind="stable")
    keys &= low
    return keys.view(np.int64)


def _keys(keys: UInt) -> tuple[UInt, np.uint64]:
    """Hashes [..., m], in place, with their place 0 … m−1 on the last axis in the low bits; and which these are."""
    m = keys.shape[-1]
    low = np.uint64((1 << max(m - 1, 1).bit_length()) - 1)
    keys &= ~low
    keys |= np.arange(m, dtype=np.uint64)
    return keys, low
