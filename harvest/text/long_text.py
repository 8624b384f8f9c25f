"""Tokenise a long text in pieces of bounded size, with the tokens that it would have as a whole.

Neighbouring pieces overlap by `OVERLAP` characters. Near its ends a piece may be tokenised otherwise than the whole
text (a word is cut, a space is put before the first word); in the middle of the overlap both pieces have the same
tokens at the same characters, and are joined there, in the middle of the longest such run. If they share no run, as in
thousands of equal characters without a space, the second piece begins anew where a token of the first ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIECE = 1 << 16  # characters
OVERLAP = 1 << 10
PIECES_AT_ONCE = 16  # which a tokenizer works on in parallel
SHORTEST_RUN = 4  # tokens


@dataclass(frozen=True)
class Tokens:
    """Token ids int64 [n], and the characters of the whole text [start, end) that each stands for, int64 [n, 2]."""

    ids: NDArray[np.int64]
    spans: NDArray[np.int64]

    def __getitem__(self, part: slice) -> Tokens:
        return Tokens(self.ids[part], self.spans[part])


Encode = Callable[[Sequence[str]], list[Tokens]]


def is_long(text: str) -> bool:
    return len(text) > PIECE + OVERLAP


def tokenise_long(text: str, encode: Encode) -> Iterator[NDArray[np.int64]]:
    """Token ids of a text, in order, in arrays int64 [n]; `encode` gives those of some texts, each as a whole."""
    begins = list(range(0, len(text) - OVERLAP, PIECE))
    left: Tokens | None = None  # of the piece before, without what has been given out
    for i in range(0, len(begins), PIECES_AT_ONCE):
        group = begins[i : i + PIECES_AT_ONCE]
        for begin, tokens in zip(group, encode([text[k : k + PIECE + OVERLAP] for k in group]), strict=True):
            right = _moved(tokens, begin)
            if left is not None:
                ready, right = _join(left, right, begin, text, encode)
                yield ready
            left = right
    if left is not None:
        yield left.ids


def _join(left: Tokens, right: Tokens, begin: int, text: str, encode: Encode) -> tuple[NDArray[np.int64], Tokens]:
    """The ids of `left` up to the joint, and the tokens after it, up to the end of `right`, which starts at `begin`."""
    first = int(np.searchsorted(left.spans[:, 0], begin))
    last = int(np.searchsorted(right.spans[:, 0], begin + OVERLAP))
    start, other, length = _longest_run(left[first:], right[:last])
    if length >= SHORTEST_RUN:
        return left.ids[: first + start + length // 2], right[other + length // 2 :]
    cut = _token_end(left, begin + OVERLAP // 2)
    at = int(left.spans[cut - 1, 1]) if cut else begin
    (anew,) = encode([text[at : begin + PIECE + OVERLAP]])
    return left.ids[:cut], _moved(anew, at)


def _longest_run(one: Tokens, other: Tokens) -> tuple[int, int, int]:
    """Where the longest run of equal tokens at equal characters begins in each, and how many tokens it has."""
    places = {key: k for k, key in enumerate(_keys(other))}
    best, run, previous = (0, 0, 0), 0, -2
    for i, key in enumerate(_keys(one)):
        k = places.get(key, -2)
        run = run + 1 if k >= 0 and k == previous + 1 else int(k >= 0)
        previous = k
        if run > best[2]:
            best = (i - run + 1, k - run + 1, run)
    return best


def _keys(tokens: Tokens) -> list[tuple[int, int, int]]:
    return list(zip(tokens.ids.tolist(), *tokens.spans.T.tolist(), strict=True))


def _token_end(tokens: Tokens, limit: int) -> int:
    """The number of tokens that end at or before `limit`, the next one beginning at or after the end of the last."""
    n = int(np.searchsorted(tokens.spans[:, 1], limit, side="right"))
    while 0 < n < len(tokens.ids) and tokens.spans[n, 0] < tokens.spans[n - 1, 1]:  # in the middle of a character
        n -= 1
    return n


def _moved(tokens: Tokens, by: int) -> Tokens:
    return Tokens(tokens.ids, tokens.spans + by)
