"""A dataset packed into contexts: tokenised on disk, split by documents, and packed while it is read."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.command.progress import Bar
from data.errors import InputError, Stopped
from harvest.inputs import HarvestInputs
from harvest.request import Request
from harvest.text.packing import choose_heldout, heldout_target, pack
from harvest.text.token_file import TokenStream, tokenise


@dataclass(frozen=True)
class PackedDataset:
    """A tokenised text, and which of its documents are held out; yields contexts."""

    stream: TokenStream
    heldout: NDArray[np.bool_]  # [n_documents]
    n_heldout: int  # contexts
    n_train: int  # contexts
    prefix: int | None  # id of the token before each context
    payload: int  # tokens of the text per context

    @property
    def n_contexts(self) -> int:
        """The number of contexts in both splits."""
        return self.n_heldout + self.n_train

    def contexts(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Yield (tokens, document numbers), int32 [n, context_size] each, held-out contexts first."""
        for wanted, n in ((self.heldout, self.n_heldout), (~self.heldout, self.n_train)):
            yield from pack(
                self.stream.tokens, self.stream.lengths, wanted, payload=self.payload, prefix=self.prefix, n_contexts=n
            )

    def tokens_sha256(self) -> str:
        """Return the SHA-256 of all contexts' tokens (int32, little-endian), in hexadecimal."""
        digest = hashlib.sha256()
        for tokens, _ in self.contexts():
            digest.update(tokens.astype("<i4", copy=False).tobytes())
        return digest.hexdigest()

    def notes(self) -> list[str]:
        """Return what a user should know about the text, in sentences."""
        notes = []
        if self.stream.n_null:
            notes.append(f"null rows of the dataset, counted as empty documents: {self.stream.n_null:,}")
        if self.n_heldout:
            share = self.n_heldout / self.n_contexts
            documents = f"from {int(self.heldout.sum()):,} of {len(self.heldout):,} documents"
            notes.append(f"held out: {self.n_heldout:,} of {self.n_contexts:,} contexts ({share:.1%}), {documents}")
        else:
            notes.append(
                f"no context is held out (documents: {len(self.heldout):,}), so train cannot validate on this store "
                "and analyze cannot measure; give more documents, or a larger --held-out"
            )
        return notes


def pack_dataset(
    request: Request, inputs: HarvestInputs, staging: Path, *, stop: threading.Event, quiet: bool
) -> PackedDataset:
    """Tokenise the text into the folder `staging`, or continue there, and choose the documents to hold out.

    Raises InputError if the text does not fill a context, and Stopped once `stop` is set.
    """
    payload = request.context_size - (inputs.prefix is not None)
    wanted = request.n_contexts * payload
    with Bar(total=wanted, desc="tokenising", unit="token", unit_scale=True, disable=quiet) as bar:

        def progress(n_tokens: int) -> None:
            bar.update(min(n_tokens, wanted) - bar.n)
            if stop.is_set():
                raise Stopped

        # Each split loses less than one context at its end.
        stream = tokenise(staging, inputs.source, inputs.tokenizer, n_tokens=wanted + 2 * payload, progress=progress)
    available = min(request.n_contexts, int(stream.lengths.sum()) // payload)
    target = heldout_target(available, request.heldout)
    heldout = choose_heldout(stream.lengths, stream.hashes, target * payload, most=available // 2 * payload)
    n_heldout = int(stream.lengths[heldout].sum()) // payload
    if not n_heldout:
        heldout[:] = False
    n_train = min(int(stream.lengths[~heldout].sum()) // payload, request.n_contexts - n_heldout)
    if n_train < 1:
        raise InputError(
            f"--dataset {inputs.source.label}: its {int(stream.lengths.sum())} tokens do not fill one context of "
            f"{request.context_size}; give more text or a smaller --context-size"
        )
    return PackedDataset(stream, heldout, n_heldout, n_train, inputs.prefix, payload)
