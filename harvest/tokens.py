"""Text into one stream of tokens on disk, before the model runs: a resumed or parallel harvest never tokenises twice.

    OUT.partial/tokens.bin      int32, all documents one after another, each with its separator
    OUT.partial/documents.bin   a record a document: its length and a hash of its tokens
    OUT.partial/cursor.json     how much of both is certain, and the dataset's state after it; written last

Not here: where text comes from (documents.py), contexts (packing.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from data.chunks import write_json
from data.errors import InputError
from harvest.documents import Batch, Source
from harvest.lm import ModelFacts

DOCUMENT = np.dtype([("length", "<i8"), ("hash", "<u8")])
PIECE_TOKENS = 16384  # a longer text counts as several documents: held-out splits and bootstraps need many
SYNC_SECONDS = 5.0


class Tokenizer(Protocol):
    """What this module needs of a tokenizer."""

    fingerprint: str | None

    def encode(self, batch: Batch) -> list[list[int]]:
        """Token ids of each document, separator included."""


class HubTokenizer:
    """The model's own tokenizer, without special tokens but for the separator after each document."""

    def __init__(self, facts: ModelFacts, *, separator: str) -> None:
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(facts.name, revision=facts.revision)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise InputError(
                f"--model {facts.label}: it has no tokenizer ({str(error).strip().splitlines()[0][:160]}); "
                "add one to its folder, or give a --dataset that has a column input_ids"
            ) from error
        self.separator = special_token(self.tokenizer, separator, option="--separator-token")
        self._after = [] if self.separator is None else [self.separator]
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        described = backend.to_str() if backend else json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        self.fingerprint: str | None = hashlib.sha256(described.encode()).hexdigest()

    def encode(self, batch: Batch) -> list[list[int]]:
        ids = self.tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]
        return [[*document, *self._after] for document in ids if document]


class Pretokenized:
    """Documents that are token ids already: taken as they are, with whatever separators they have."""

    fingerprint: str | None = None

    def encode(self, batch: Batch) -> list[list[int]]:
        return [[int(i) for i in document] for document in batch if document]


def special_token(tokenizer: Any, choice: str, *, option: str) -> int | None:
    """The id of `none`, `bos`, `eos`, or a number. Raises InputError where the tokenizer lacks it."""
    if choice == "none":
        return None
    if choice.isdecimal():
        return int(choice)
    found = getattr(tokenizer, f"{choice}_token_id", None) if choice in ("bos", "eos") else None
    if found is None:
        raise InputError(f"{option} {choice}: the tokenizer has no such token; give `none` or a token's number")
    return int(found)


@dataclass(frozen=True)
class TokenStream:
    """Everything tokenised: tokens int32 [n] (mapped), lengths int64 and hashes uint64 [n_documents]."""

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    exhausted: bool  # the dataset ended before there were enough


class Progress(Protocol):
    """What the command line shows while tokens are made."""

    def __call__(self, n_tokens: int) -> None: ...


def tokenise(
    folder: Path,
    source: Source,
    tokenizer: Tokenizer,
    *,
    n_tokens: int,
    slack: int,
    vocab_size: int,
    progress: Progress,
) -> TokenStream:
    """Tokenise until there are `n_tokens` plus `slack` plus the longest document's length, or no text is left.

    Continues what a stopped run left in `folder`. Raises InputError where a token id is not in the vocabulary.
    """
    cursor_path = folder / "cursor.json"
    cursor = json.loads(cursor_path.read_bytes()) if cursor_path.exists() else None
    cursor = cursor or {"documents": 0, "tokens": 0, "longest": 0, "state": None, "exhausted": False}
    have, longest = cursor["tokens"], cursor["longest"]

    def enough() -> bool:
        return bool(have >= n_tokens + slack + longest)

    if not enough() and not cursor["exhausted"]:
        with open(folder / "tokens.bin", "ab") as tokens, open(folder / "documents.bin", "ab") as documents:
            tokens.truncate(4 * have)
            documents.truncate(DOCUMENT.itemsize * cursor["documents"])
            count, state = cursor["documents"], cursor["state"]
            synced = time.monotonic()

            def record(exhausted: bool) -> None:
                for file in (tokens, documents):
                    file.flush()
                    os.fsync(file.fileno())
                write_json(
                    cursor_path,
                    {"documents": count, "tokens": have, "longest": longest, "state": state, "exhausted": exhausted},
                )

            for batch, after in source.batches(state):
                pieces = [piece for ids in tokenizer.encode(batch) for piece in _pieces(ids, vocab_size)]
                records = np.array([(len(piece), _hash(piece)) for piece in pieces], dtype=DOCUMENT)
                for piece in pieces:
                    tokens.write(piece.tobytes())
                documents.write(records.tobytes())
                count, state = count + len(pieces), after
                have += int(records["length"].sum())
                longest = max(longest, int(records["length"].max(initial=0)))
                progress(have)
                if enough():
                    break
                if time.monotonic() - synced > SYNC_SECONDS:
                    record(exhausted=False)
                    synced = time.monotonic()
            record(exhausted=not enough())
            cursor["exhausted"] = not enough()

    records = np.fromfile(folder / "documents.bin", dtype=DOCUMENT)
    stream = np.memmap(folder / "tokens.bin", dtype="<i4", mode="r") if have else np.empty(0, dtype=np.int32)
    return TokenStream(stream, records["length"].copy(), records["hash"].copy(), bool(cursor["exhausted"]))


def _pieces(ids: list[int], vocab_size: int) -> list[NDArray[np.int32]]:
    array = np.array(ids, dtype=np.int64)
    if array.min(initial=0) < 0 or array.max(initial=0) >= vocab_size:
        raise InputError(
            f"--dataset: token id {int(array.max())} is outside the model's vocabulary of {vocab_size}; "
            "it was tokenised for another model"
        )
    return [array[i : i + PIECE_TOKENS].astype("<i4") for i in range(0, len(array), PIECE_TOKENS)]


def _hash(piece: NDArray[np.int32]) -> int:
    return int.from_bytes(hashlib.blake2b(piece.tobytes(), digest_size=8).digest(), "little")
