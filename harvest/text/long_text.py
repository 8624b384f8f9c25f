"""Tokenise a long text in pieces of bounded size, so that the tokens equal those of the whole text.

Neighbouring pieces overlap by OVERLAP characters. Near its ends a piece can have other tokens than the whole text,
because a word is cut or a space is added before the first word. In the middle of the overlap both pieces have the same
tokens at the same characters, so they are joined in the middle of the longest such sequence. If they share none, as in
thousands of equal characters without a space, the second piece is tokenised again from the end of a token of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIECE = 1 << 16  # characters
OVERLAP = 1 << 10
PIECES_AT_ONCE = 16  # tokenised in parallel
SHORTEST_MATCH = 4  # tokens


@dataclass(frozen=True)
class Tokens:
    """Tokens, and the characters of the whole text that each stands for."""

    ids: NDArray[np.int64]  # [n]
    spans: NDArray[np.int64]  # [n, 2]: the characters start ≤ i < end

    def __getitem__(self, part: slice) -> Tokens:
        return Tokens(self.ids[part], self.spans[part])


Encode = Callable[[Sequence[str]], list[Tokens]]


def is_long(text: str) -> bool:
    """Return whether a text has more than one piece."""
    return len(text) > PIECE + OVERLAP


def tokenise_long(text: str, encode: Encode) -> Iterator[NDArray[np.int64]]:
    """Yield the token ids of a text in order, int64 [n] each; `encode` tokenises texts of bounded size."""
    begins = list(range(0, len(text) - OVERLAP, PIECE))
    left: Tokens | None = None  # tokens of the previous piece that are not yielded yet
    for i in range(0, len(begins), PIECES_AT_ONCE):
        chunk = begins[i : i + PIECES_AT_ONCE]
        for begin, tokens in zip(chunk, encode([text[k : k + PIECE + OVERLAP] for k in chunk]), strict=True):
            right = _moved(tokens, begin)
            if left is not None:
                ready, right = _join(left, right, begin, text, encode)
                yield ready
            left = right
    if left is not None:
        yield left.ids


def _join(left: Tokens, right: Tokens, begin: int, text: str, encode: Encode) -> tuple[NDArray[np.int64], Tokens]:
    """Return the ids of `left` up to the joint, and the tokens from there to the end of `right`.

    `begin` is the character at which `right` starts.
    """
    first = int(np.searchsorted(left.spans[:, 0], begin))
    last = int(np.searchsorted(right.spans[:, 0], begin + OVERLAP))
    start_left, start_right, length = _longest_match(left[first:], right[:last])
    if length >= SHORTEST_MATCH:
        return left.ids[: first + start_left + length // 2], right[start_right + length // 2 :]
    cut = _token_end(left, begin + OVERLAP // 2)
    start = int(left.spans[cut - 1, 1]) if cut else begin
    (tokens,) = encode([text[start : begin + PIECE + OVERLAP]])
    return left.ids[:cut], _moved(tokens, start)


def _longest_match(left: Tokens, right: Tokens) -> tuple[int, int, int]:
    """Find the longest sequence of equal tokens at equal characters; return its starts in both, and its length.

    The length is 0 if there is none.
    """
    indices = {key: k for k, key in enumerate(_keys(right))}
    longest, length, previous = (0, 0, 0), 0, -2
    for i, key in enumerate(_keys(left)):
        k = indices.get(key, -2)
        length = length + 1 if k >= 0 and k == previous + 1 else int(k >= 0)
        previous = k
        if length > longest[2]:
            longest = (i - length + 1, k - length + 1, length)
    return longest


def _keys(tokens: Tokens) -> list[tuple[int, int, int]]:
    return list(zip(tokens.ids.tolist(), *tokens.spans.T.tolist(), strict=True))


def _token_end(tokens: Tokens, limit: int) -> int:
    """Return how many tokens end at or before character `limit`, without splitting a character of several tokens."""
    n = int(np.searchsorted(tokens.spans[:, 1], limit, side="right"))
    while 0 < n < len(tokens.ids) and tokens.spans[n, 0] < tokens.spans[n - 1, 1]:  # within a character
        n -= 1
    return n


def _moved(tokens: Tokens, by: int) -> Tokens:
    return Tokens(tokens.ids, tokens.spans + by)
