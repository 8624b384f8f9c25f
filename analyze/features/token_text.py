"""The text of each token in a sequence.

Consecutive tokens are decoded together, because a tokenizer may spread a character (such as an emoji) over several
tokens, and a SentencePiece tokenizer drops the space before the first token that it decodes. The text of a token is
what it adds to the decoded text of the tokens before it, so the texts join to the whole text. A character of several
tokens belongs to the last of them; the others have an empty text. Decoding restarts after a special token.
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

UNDECODED = "\ufffd"  # printed by decoders for bytes that form no character
NEIGHBOURS = 8  # tokens: the end of a cut character (at most 3), a whole character (at most 4), and one more
CONTINUATION = re.compile("<0x[89AB][0-9A-F]>")  # a SentencePiece token of a byte inside a character
BYTES = {character: byte for byte, character in bytes_to_unicode().items()}  # of byte-level BPE vocabularies


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Return the text of each of the consecutive tokens `ids`."""
    special = set(tokenizer.all_special_ids)
    texts: list[str] = []
    for is_special, group in groupby(ids, special.__contains__):
        stretch = list(group)
        start = len(stretch) if is_special else _first_whole_character(tokenizer, stretch)
        texts += [_decode(tokenizer, [i]) for i in stretch[:start]] + _texts(tokenizer, stretch[start:])
    return texts


def _first_whole_character(tokenizer: Any, ids: list[int]) -> int:
    """Return the index of the first token that begins a whole character.

    If decoding starts with the end of a cut character, SentencePiece tokenizers decode none of the byte tokens that
    follow.
    """
    pieces = tokenizer.convert_ids_to_tokens(ids[:NEIGHBOURS])
    return next((k for k, piece in enumerate(pieces) if not CONTINUATION.fullmatch(piece or "")), len(pieces))


def _texts(tokenizer: Any, ids: list[int]) -> list[str]:
    texts = []
    start, end = 0, 0  # tokens before `end` have their texts; those from `start` on are decoded with the next
    for i in range(1, len(ids) + 1):
        before, text = (_decode(tokenizer, ids[start:stop]) for stop in (end, i))
        if text.endswith(UNDECODED) and i < len(ids):
            texts.append("")
        else:
            texts.append(text[len(before) :])
            start, end = end, i
    return texts


def text_of_token(tokenizer: Any, token: int) -> str:
    """Return the text of a single token, with the space before it; incomplete bytes are escaped: \\xf0\\x9f."""
    letter = tokenizer("a", add_special_tokens=False)["input_ids"][-1]
    text = token_texts(tokenizer, [letter, token])[1]
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
    """Token texts of a store's contexts, decoded together with the neighbouring tokens of adjacent contexts."""

    def __init__(self, tokenizer: Any, store: Store, contexts: NDArray[np.int64]) -> None:
        """contexts: int64 [n], numbers of held-out contexts in the store."""
        self._tokenizer = tokenizer
        self._n_prefix = int(store.provenance["tokens"].get("prefix_token") is not None)
        last = store.layout.n_heldout_contexts - 1
        before, middle, after = (
            store.tokens(np.clip(contexts + shift, 0, last))[:, self._n_prefix :] for shift in (-1, 0, 1)
        )
        before, after = before[:, -NEIGHBOURS:].copy(), after[:, :NEIGHBOURS].copy()
        before[contexts == 0] = after[contexts == last] = -1  # no such context
        self._prefix = store.tokens(contexts)[:, : self._n_prefix]
        self._stream, self._n_before = np.concatenate([before, middle, after], axis=1), before.shape[1]

    def texts(self, context: int, begin: int, end: int) -> list[str]:
        """Return the texts of positions `begin` to `end` (exclusive) of the context with this index in `contexts`."""
        prefix = [text_of_token(self._tokenizer, i) for i in self._prefix[context, begin:end].tolist()]
        first, stop = (max(i - self._n_prefix, 0) + self._n_before for i in (begin, end))
        stream = self._stream[context]
        before, middle, after = (
            [i for i in part.tolist() if i >= 0]
            for part in (stream[first - self._n_before : first], stream[first:stop], stream[stop : stop + NEIGHBOURS])
        )
        return [
            *prefix,
            *token_texts(self._tokenizer, before + middle + after)[len(before) : len(before) + len(middle)],
        ]
