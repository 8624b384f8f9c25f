"""Permutations that are pure functions of integers: they have no generator state and never change between versions.

A 64-bit hash (the finaliser of SplitMix64, Steele et al. 2014) gives each index a key, and sorting the keys permutes
the indices. The low bits of a key are the index itself. Keys are therefore distinct, and no argsort is needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
UInt = NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def mix(x: UInt) -> UInt:
    """Apply SplitMix64's finaliser to each element of x, uint64 of any shape, in place; return x."""
    shifted = x >> np.uint64(30)
    x ^= shifted
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= np.right_shift(x, np.uint64(27), out=shifted)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= np.right_shift(x, np.uint64(31), out=shifted)
    return x


def seed_of(*key: int) -> int:
    """Combine integers (a seed, an epoch, a group …) into one 64-bit seed. Their order matters."""
    state = 0
    for part in key:
        salted = np.array([(state * GOLDEN + (part & MASK) + GOLDEN) & MASK], dtype=np.uint64)
        state = int(mix(salted)[0])
    return state


def hashes(index: Int, seed: int) -> UInt:
    """Return a 64-bit hash of each non-negative index, int64 of any shape, under a seed: uint64 of the same shape."""
    offset = np.uint64((seed * GOLDEN + GOLDEN) & MASK)
    keys = index.astype(np.uint64)
    keys *= np.uint64(GOLDEN)
    keys += offset
    return mix(keys)


def shuffled_rows(index: Int, seed: int) -> Int:
    """Return a permutation of 0 … m−1 per row of `index` [n, m], drawn from its entries' hashes: int64 [n, m]."""
    keys, low = _with_index(hashes(index, seed))
    keys.sort(axis=-1)
    keys &= low
    return keys.view(np.int64)


def permutation(n: int, *key: int) -> Int:
    """Return a permutation of 0 … n−1 drawn from the integers in `key`: int64 [n]."""
    keys, low = _with_index(hashes(np.arange(n, dtype=np.int64), seed_of(*key)))
    # A radix sort by the first 16 bits, then a merge of nearly sorted keys: a third of the time of one sort.
    keys = keys[np.argsort((keys >> np.uint64(48)).astype(np.uint16), kind="stable")]
    keys.sort(kind="stable")
    keys &= low
    return keys.view(np.int64)


def _with_index(keys: UInt) -> tuple[UInt, np.uint64]:
    """Overwrite the low bits of hashes [..., m] with their index on the last axis.

    Returns the hashes and the mask of those bits.
    """
    m = keys.shape[-1]
    low = np.uint64((1 << max(m - 1, 1).bit_length()) - 1)
    keys &= ~low
    keys |= np.arange(m, dtype=np.uint64)
    return keys, low
