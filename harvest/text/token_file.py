"""Tokenise a text into one stream of tokens on disk before the model runs, so that no token is computed twice.

OUT.partial/tokens.bin      int32: all documents one after another, each with its separator
OUT.partial/documents.bin   one record per document: its length and a hash of its tokens
OUT.partial/cursor.json     the valid lengths of both files, their checksums, and the dataset's state; written last
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import DamagedError, StoreError
from data.store.chunks import crc32c, write_json
from data.store.sealed import read_sealed, sealed
from data.system.location import file_bytes
from harvest.text.sources import Source
from harvest.text.tokenizer import Tokenizer

DOCUMENT = np.dtype([("length", "<i8"), ("hash", "<u8")])
SYNC_SECONDS = 5.0


@dataclass(frozen=True)
class TokenStream:
    """The tokens of a text, and its documents."""

    tokens: NDArray[np.int32]  # [n_tokens], memory-mapped
    lengths: NDArray[np.int64]  # [n_documents]
    hashes: NDArray[np.uint64]  # [n_documents], of each document's tokens
    n_null: int  # rows of the dataset without a document
    exhausted: bool  # the dataset ended before the requested number of tokens


def tokenise(
    folder: Path, source: Source, tokenizer: Tokenizer, *, n_tokens: int, progress: Callable[[int], None]
) -> TokenStream:
    """Tokenise into `folder` until there are `n_tokens` or the text ends.

    Calls `progress` with the number of tokens after each document. Continues the files that a stopped harvest left; if
    they are damaged, prints so and begins again. Raises InputError if a document cannot be tokenised.
    """
    cursor = read_cursor(folder)
    if cursor["tokens"] < n_tokens and not cursor["exhausted"]:
        with open(folder / "tokens.bin", "ab") as tokens, open(folder / "documents.bin", "ab") as documents:
            tokens.truncate(4 * cursor["tokens"])
            documents.truncate(DOCUMENT.itemsize * cursor["documents"])

            def save_cursor() -> None:
                for file in (tokens, documents):
                    file.flush()
                    os.fsync(file.fileno())
                write_json(folder / "cursor.json", sealed(cursor))

            synced = time.monotonic()
            for batch in source.batches(cursor["state"]):
                for piece in tokenizer.encode(batch):
                    record = np.array([(len(piece), _hash(piece))], dtype=DOCUMENT)
                    tokens.write(piece.tobytes())
                    documents.write(record.tobytes())
                    cursor["tokens_crc32c"] = crc32c(piece.tobytes(), cursor["tokens_crc32c"])
                    cursor["documents_crc32c"] = crc32c(record.tobytes(), cursor["documents_crc32c"])
                    cursor["documents"] += 1
                    cursor["tokens"] += len(piece)
                    progress(cursor["tokens"])
                    if cursor["tokens"] >= n_tokens:
                        break
                cursor |= {"state": batch.state, "null_rows": cursor["null_rows"] + batch.n_null}
                if cursor["tokens"] >= n_tokens:
                    break
                if time.monotonic() - synced > SYNC_SECONDS:
                    save_cursor()
                    synced = time.monotonic()
            cursor["exhausted"] = cursor["tokens"] < n_tokens
            save_cursor()

    records = np.fromfile(folder / "documents.bin", dtype=DOCUMENT)
    stream = np.memmap(folder / "tokens.bin", dtype="<i4", mode="r") if len(records) else np.empty(0, dtype=np.int32)
    return TokenStream(
        stream, records["length"].copy(), records["hash"].copy(), cursor["null_rows"], bool(cursor["exhausted"])
    )


def read_cursor(folder: Path) -> dict[str, Any]:
    """Return the cursor of a stopped harvest; that of the beginning if there is none or its files are damaged.

    Damage is printed on standard error.
    """
    beginning = {
        "documents": 0, "tokens": 0, "null_rows": 0, "state": None, "exhausted": False,
        "tokens_crc32c": 0, "documents_crc32c": 0,
    }  # fmt: skip
    try:
        cursor = read_sealed(folder / "cursor.json")
        for name, itemsize in (("tokens", 4), ("documents", DOCUMENT.itemsize)):
            file, size = folder / f"{name}.bin", itemsize * cursor[name]
            content = file_bytes(file)
            if content.nbytes < size or crc32c(content[:size]) != cursor[f"{name}_crc32c"]:
                raise DamagedError(f"{file} is damaged: it does not have the {name} that were written to it")
    except FileNotFoundError:
        return beginning
    except (OSError, StoreError) as error:
        print(f"{error}; the text is tokenised again", file=sys.stderr)
        return beginning
    return cursor


def _hash(piece: NDArray[np.int32]) -> int:
    return int.from_bytes(hashlib.blake2b(piece.tobytes(), digest_size=8).digest(), "little")
