"""The text of tokens, each with its part of it.

Tokens that follow one another are decoded together. A tokenizer may spread a character over several tokens, as it does
with emoji, and a SentencePiece tokenizer drops the space before the first token that it decodes. The part of a token
is what it adds to the text of the tokens before it, so the parts join to the text. A character of several tokens is
part of the last of them; the others have empty parts. Text starts anew after a special token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers.convert_slow_tokenizer import bytes_to_unicode

from data.store.reader import Store

UNDECODED = "\ufffd"  # what decoders print for bytes that are no character
NEIGHBOURS = 8  # tokens: the end of a character that is cut, at most 3, a whole one, at most 4, and one that is known
CONTINUATION = re.compile("<0x[89AB][0-9A-F]>")  # a SentencePiece token of a byte that begins no character
BYTES = {character: byte for byte, character in bytes_to_unicode().items()}  # of byte-level BPE's vocabularies


def parts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The part of each of the tokens `ids`, which follow one another."""
    special = set(tokenizer.all_special_ids)
    texts: list[str] = []
    for is_special, group in groupby(ids, special.__contains__):
        run = list(group)
        whole = len(run) if is_special else _first_whole(tokenizer, run)
        texts += [_decode(tokenizer, [i]) for i in run[:whole]] + _parts(tokenizer, run[whole:])
    return texts


def _first_whole(tokenizer: Any, ids: list[int]) -> int:
    """Where the first whole character of tokens begins: SentencePiece tokenizers decode no byte of those after it that
    are bytes too, if the first ones are the end of a character."""
    pieces = tokenizer.convert_ids_to_tokens(ids[:NEIGHBOURS])
    return next((k for k, piece in enumerate(pieces) if not CONTINUATION.fullmatch(piece or "")), len(pieces))


def _parts(tokenizer: Any, ids: list[int]) -> list[str]:
    texts = []
    start, end = 0, 0  # the tokens up to `end` have their parts; those from `start` on are decoded with the next
    for i in range(1, len(ids) + 1):
        before, text = (_decode(tokenizer, ids[start:stop]) for stop in (end, i))
        if text.endswith(UNDECODED) and i < len(ids):
            texts.append("")
        else:
            texts.append(text[len(before) :])
            start, end = end, i
    return texts


def alone(tokenizer: Any, token: int) -> str:
    """The text of a token by itself, with the space before it; bytes that are no character as escapes: \\xf0\\x9f."""
    letter = tokenizer("a", add_special_tokens=False)["input_ids"][-1]
    text = parts(tokenizer, [letter, token])[1]
    piece = tokenizer.convert_ids_to_tokens(token)
    if UNDECODED not in text or piece is None:
        return text
    if byte := re.fullmatch("<0x([0-9A-F]{2})>", piece):
        return bytes([int(byte[1], 16)]).decode(errors="backslashreplace")
    if all(character in BYTES for character in piece):
        return bytes(BYTES[character] for character in piece).decode(errors="backslashreplace")
    return text


def _decode(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


class ContextText:
    """The parts of tokens of contexts, decoded together with tokens of the contexts before and after in the store."""

    def __init__(self, tokenizer: Any, store: Store, contexts: NDArray[np.int64]) -> None:
        """`contexts` int64 [n] are held-out ones, by their numbers in the store."""
        self._tokenizer = tokenizer
        self._n_prefix = int(store.provenance["tokens"].get("prefix_token") is not None)
        last = store.layout.n_heldout_contexts - 1
        before, own, after = (
            store.tokens(np.clip(contexts + shift, 0, last))[:, self._n_prefix :] for shift in (-1, 0, 1)
        )
        before, after = before[:, -NEIGHBOURS:].copy(), after[:, :NEIGHBOURS].copy()
        before[contexts == 0] = after[contexts == last] = -1  # none
        self._prefix = store.tokens(contexts)[:, : self._n_prefix]
        self._stream, self._n_before = np.concatenate([before, own, after], axis=1), before.shape[1]

    def parts(self, context: int, begin: int, end: int) -> list[str]:
        """Of the tokens at positions `begin` to `end` (exclusive) of a context, by its place among `contexts`."""
        prefix = [alone(self._tokenizer, i) for i in self._prefix[context, begin:end].tolist()]
        first, stop = (max(i - self._n_prefix, 0) + self._n_before for i in (begin, end))
        stream = self._stream[context]
        before, own, after = (
            [i for i in part.tolist() if i >= 0]
            for part in (stream[first - self._n_before : first], stream[first:stop], stream[stop : stop + NEIGHBOURS])
        )
        return [*prefix, *parts(self._tokenizer, before + own + after)[len(before) : len(before) + len(own)]]
