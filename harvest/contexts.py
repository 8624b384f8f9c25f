"""A dataset as contexts, ready for the model: tokenised, split, and packed on demand.

Not here: where text comes from (documents.py), the token stream on disk (tokens.py), the arithmetic (packing.py).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError, Stopped
from data.progress import Bar
from harvest.documents import Source
from harvest.lm import ModelFacts
from harvest.packing import choose_heldout, heldout_target, pack
from harvest.plan import Request
from harvest.tokens import HubTokenizer, Pretokenized, TokenStream, special_token, tokenise


@dataclass(frozen=True)
class Packed:
    """The text as contexts: how many, and how to make them."""

    stream: TokenStream
    heldout: NDArray[np.bool_]
    n_heldout: int
    n_train: int
    prefix: int | None
    separator: int | None
    payload: int
    tokenizer: str | None

    @property
    def n_contexts(self) -> int:
        return self.n_heldout + self.n_train

    def contexts(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """(tokens, document) int32 [k, context_size], held-out contexts first."""
        for wanted, n in ((self.heldout, self.n_heldout), (~self.heldout, self.n_train)):
            yield from pack(
                self.stream.tokens, self.stream.lengths, wanted, payload=self.payload, prefix=self.prefix, n_contexts=n
            )


def tokens_to_contexts(
    request: Request, facts: ModelFacts, source: Source, staging: Path, *, stop: threading.Event, quiet: bool
) -> Packed:
    """Tokenise (or continue to), and decide which documents are held out."""
    tokenizer: HubTokenizer | Pretokenized = Pretokenized()
    prefix = separator = None
    if source.kind == "text":
        tokenizer = HubTokenizer(facts, separator=request.separator)
        prefix = special_token(tokenizer.tokenizer, request.prefix, option="--prefix-token")
        separator = tokenizer.separator
    elif request.prefix != "none":
        if not request.prefix.isdecimal():
            raise InputError(f"--prefix-token {request.prefix}: give a token's number for a dataset of token ids")
        prefix = int(request.prefix)
    for option, token in (("--prefix-token", prefix), ("--separator-token", separator)):
        if token is not None and token >= facts.vocab_size:
            raise InputError(f"{option} {token}: the model's vocabulary has {facts.vocab_size} tokens; give less")
    payload = request.context_size - (prefix is not None)
    wanted = request.n_contexts * payload
    with Bar(total=wanted, desc="tokenising", unit="tok", unit_scale=True, disable=quiet) as bar:

        def progress(n_tokens: int) -> None:
            bar.update(min(n_tokens, wanted) - bar.n)
            if stop.is_set():
                raise Stopped

        stream = tokenise(
            staging,
            source,
            tokenizer,
            n_tokens=wanted,
            slack=2 * payload,
            vocab_size=facts.vocab_size,
            progress=progress,
        )
    available = min(request.n_contexts, int(stream.lengths.sum()) // payload)
    target = heldout_target(available)
    heldout = choose_heldout(stream.lengths, stream.hashes, target * payload)
    n_heldout = min(int(stream.lengths[heldout].sum()) // payload, target)
    n_train = min(int(stream.lengths[~heldout].sum()) // payload, request.n_contexts - n_heldout)
    if n_train < 1:
        raise InputError(
            f"--dataset {source.label}: its {int(stream.lengths.sum())} tokens do not fill one context of "
            f"{request.context_size}; give more text or a smaller --context-size"
        )
    return Packed(stream, heldout, n_heldout, n_train, prefix, separator, payload, tokenizer.fingerprint)
