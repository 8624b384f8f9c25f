"""The opened inputs of a harvest: the model's facts and fingerprint, the text, and the tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

from data.errors import InputError
from harvest.model.base import ModelFacts
from harvest.model.weights import model_fingerprint
from harvest.request import Request
from harvest.text.sources import Source, open_source
from harvest.text.tokenizer import HubTokenizer, Pretokenized, Tokenizer, special_token


@dataclass(frozen=True)
class HarvestInputs:
    """A model that is not loaded yet, a text, and the tokenizer between them."""

    facts: ModelFacts
    model_fingerprint: str  # SHA-256 of weight files and configuration
    source: Source
    tokenizer: Tokenizer
    prefix: int | None  # id of the token before each context


def open_inputs(request: Request, facts: ModelFacts) -> HarvestInputs:
    """Open the text and the tokenizer, and compute the fingerprints, which reads all files of the model and the text.

    Raises InputError if an input cannot be used or an option does not apply to it.
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
    separator = tokenizer.separator
    if request.separator is None and separator is not None and separator >= facts.vocab_size:
        raise InputError(
            f"--model {facts.label}: its tokenizer ends texts with token id {separator}, outside its vocabulary of "
            f"{facts.vocab_size}; it belongs to another model"
        )
    for option, token in (("--prefix-token", prefix), ("--separator-token", separator)):
        if token is not None and token >= facts.vocab_size:
            raise InputError(f"{option} {token}: the model's vocabulary has {facts.vocab_size} tokens; give less")
    return HarvestInputs(facts, model_fingerprint(facts), source, tokenizer, prefix)
