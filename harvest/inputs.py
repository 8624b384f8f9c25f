"""The inputs of a harvest, opened: the model's facts and identity, the text, and the tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data.errors import InputError
from harvest.model.base import ModelFacts
from harvest.model.weights import model_fingerprint
from harvest.request import Request
from harvest.text.sources import Source, open_source
from harvest.text.tokenizer import HubTokenizer, Pretokenized, Tokenizer, special_token


@dataclass(frozen=True)
class Inputs:
    """A model and a text; `model_fingerprint` is the SHA-256 of the model's weight files and configuration."""

    facts: ModelFacts
    model_fingerprint: str
    source: Source
    tokenizer: Tokenizer
    prefix: int | None  # the token before each context

    def settings(self, request: Request) -> dict[str, Any]:
        """The request and the identity of its inputs, as the store records them: option or name → value."""
        tokens = self.source.kind == "tokens"
        return request.settings(self.facts) | {
            "the model's content": self.model_fingerprint,
            "the tokenizer": self.tokenizer.fingerprint,
            "--dataset": self.source.label,
            "--dataset-split": self.source.split,
            "the dataset's content": self.source.fingerprint,
            "--separator-token": None if tokens else request.separator or "eos",
            "--special-tokens": None if tokens else request.special_tokens or "text",
        }


def open_inputs(request: Request, facts: ModelFacts) -> Inputs:
    """Open the text and the tokenizer, and take the fingerprint of the model. It reads all of the model's files, and
    of a local dataset.

    Raises InputError if one cannot be used, or an option does not apply to it.
    """
    source = open_source(request.dataset)
    tokenizer: Tokenizer
    if source.kind == "tokens":
        for option, value in (
            ("--separator-token", request.separator), ("--special-tokens", request.special_tokens),
        ):  # fmt: skip
            if value is not None:
                raise InputError(f"{option} {value}: does not apply to a dataset of token ids; leave it out")
        if request.prefix != "none" and not request.prefix.isdecimal():
            raise InputError(f"--prefix-token {request.prefix}: give a token's number for a dataset of token ids")
        tokenizer = Pretokenized(source.label, facts.vocab_size)
        prefix = None if request.prefix == "none" else int(request.prefix)
    else:
        tokenizer = text_tokenizer = HubTokenizer(
            facts, separator=request.separator or "eos", special_tokens=request.special_tokens or "text"
        )
        prefix = special_token(text_tokenizer.tokenizer, request.prefix, option="--prefix-token")
    last = tokenizer.separator
    if request.separator is None and last is not None and last >= facts.vocab_size:
        raise InputError(
            f"--model {facts.label}: its tokenizer ends texts with token id {last}, outside its vocabulary of "
            f"{facts.vocab_size}; it belongs to another model"
        )
    for option, token in (("--prefix-token", prefix), ("--separator-token", tokenizer.separator)):
        if token is not None and token >= facts.vocab_size:
            raise InputError(f"{option} {token}: the model's vocabulary has {facts.vocab_size} tokens; give less")
    return Inputs(facts, model_fingerprint(facts), source, tokenizer, prefix)
