"""Turn documents into token ids: with the model's tokenizer, or unchanged if they are token ids already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from data.errors import InputError
from harvest.model.base import ModelFacts, SpecialTokens
from harvest.text.long_text import Tokens, is_long, tokenise_long
from harvest.text.sources import Batch

PIECE_TOKENS = 16384  # a longer text becomes several documents: held-out splits and bootstraps need many


class Tokenizer(Protocol):
    """Converts batches of documents into token ids."""

    fingerprint: str | None  # SHA-256; None for token ids
    separator: int | None  # id of the token after each document

    def encode(self, batch: Batch) -> Iterator[NDArray[np.int32]]:
        """Yield the token ids, int32 [n], of each document that is not empty, followed by the separator.

        Long documents come in pieces of PIECE_TOKENS tokens and a shorter last one. Raises InputError if an id is not
        in the model's vocabulary.
        """


class HubTokenizer:
    """The model's own tokenizer, which adds no special tokens except the separators.

    `special_tokens`: "text" reads text that spells a special token, such as `</s>`, as ordinary text, "parse" as that
    token.
    """

    def __init__(self, facts: ModelFacts, *, separator: str, special_tokens: SpecialTokens) -> None:
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(
                facts.name, revision=facts.revision, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise InputError(
                f"--model {facts.label}: it has no tokenizer ({str(error).strip().splitlines()[0][:160]}); "
                "add one to its folder, or give a --dataset that has a column input_ids"
            ) from error
        self.separator = special_token(self.tokenizer, separator, option="--separator-token")
        self._split = special_tokens == "text"
        self._facts = facts
        self._after = [] if self.separator is None else [np.array([self.separator])]
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        described = backend.to_str() if backend else json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        self.fingerprint: str | None = hashlib.sha256(described.encode()).hexdigest()

    def encode(self, batch: Batch) -> Iterator[NDArray[np.int32]]:
        """See `Tokenizer.encode`."""
        texts = filter(None, cast("list[str]", batch.documents))
        for long, neighbours in groupby(texts, key=lambda text: is_long(text) and self._fast):
            if long:
                for text in neighbours:
                    yield from self._pieces(tokenise_long(text, self._with_spans))
            else:
                for ids in self._call(list(neighbours))["input_ids"]:
                    yield from self._pieces([np.array(ids, dtype=np.int64)])

    @property
    def _fast(self) -> bool:
        return bool(self.tokenizer.is_fast)

    def _call(self, texts: Sequence[str], **options: Any) -> Any:
        return self.tokenizer(
            texts, add_special_tokens=False, split_special_tokens=self._split, return_attention_mask=False,
            verbose=False, **options,
        )  # fmt: skip

    def _with_spans(self, texts: Sequence[str]) -> list[Tokens]:
        encoded = self._call(texts, return_offsets_mapping=True)
        return [
            Tokens(np.array(ids, dtype=np.int64), np.array(spans, dtype=np.int64).reshape(-1, 2))
            for ids, spans in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ]

    def _pieces(self, document: Iterable[NDArray[np.int64]]) -> Iterator[NDArray[np.int32]]:
        for piece in cut(_ended(document, self._after), PIECE_TOKENS):
            if piece.max(initial=0) >= self._facts.vocab_size:
                raise InputError(
                    f"--model {self._facts.label}: its tokenizer gives token id {int(piece.max())}, outside its "
                    f"vocabulary of {self._facts.vocab_size}; it belongs to another model"
                )
            yield piece.astype("<i4")


class Pretokenized:
    """Passes documents of token ids through unchanged, with the separators that they contain."""

    fingerprint: str | None = None
    separator: int | None = None

    def __init__(self, label: str, vocab_size: int) -> None:
        self._label, self._vocab_size = label, vocab_size

    def encode(self, batch: Batch) -> Iterator[NDArray[np.int32]]:
        """See `Tokenizer.encode`."""
        for ids, place in zip(cast("list[NDArray[np.int64]]", batch.documents), batch.places, strict=True):
            outside = (ids < 0) | (ids >= self._vocab_size)
            if outside.any():
                raise InputError(
                    f"--dataset {self._label}: {place} has token id {ids[outside][0]}, outside the model's vocabulary "
                    f"of {self._vocab_size} (0 to {self._vocab_size - 1}); mask padding with a column attention_mask, "
                    "or give ids made for this model"
                )
            yield from (piece.astype("<i4") for piece in cut([ids], PIECE_TOKENS))


def cut(parts: Iterable[NDArray[np.int64]], size: int) -> Iterator[NDArray[np.int64]]:
    """Join arrays [n] and yield arrays [size]; the last one holds the rest, if there is any."""
    held = np.empty(0, dtype=np.int64)
    for part in parts:
        held = np.concatenate([held, part])
        n = len(held) // size * size
        yield from np.split(held[:n], n // size) if n else ()
        held = held[n:]
    if len(held):
        yield held


def _ended(document: Iterable[NDArray[np.int64]], after: list[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    """Yield a document and its separator; nothing if the document has no tokens."""
    empty = True
    for part in document:
        empty = empty and not len(part)
        yield part
    if not empty:
        yield from after


def special_token(tokenizer: Any, choice: str, *, option: str) -> int | None:
    """Return the token id of `bos`, `eos` or a number, and None for `none`.

    Raises InputError if the tokenizer has no such token.
    """
    if choice == "none":
        return None
    if choice.isdecimal():
        return int(choice)
    token = getattr(tokenizer, f"{choice}_token_id", None) if choice in ("bos", "eos") else None
    if token is None:
        raise InputError(f"{option} {choice}: the tokenizer has no such token; give `none` or a token's number")
    return int(token)
