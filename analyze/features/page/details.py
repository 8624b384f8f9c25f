"""One feature's details as the page reads them, in JSON's types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from analyze.features.ablate import Ablation
from analyze.features.matches import Match
from analyze.features.record import Example, FeatureRecord, TokenLogits
from analyze.features.token_text import ContextText, text_of_token
from analyze.features.unembedding import Unembedding
from analyze.measure.heldout import Heldout

DIGITS = 4


def rounded(value: float) -> float:
    """Return a number with DIGITS significant digits, so that its JSON text is short."""
    return float(f"{value:.{DIGITS}g}")


class Texts:
    """The text of tokens and contexts. Without a tokenizer, tokens are shown as numbers, and unknown ones as `?`."""

    def __init__(self, heldout: Heldout, unembedding: Unembedding | None) -> None:
        self._index = {number: i for i, number in enumerate(heldout.contexts.tolist())}
        self._size = heldout.store.schema.context_size
        self._tokenizer = None if unembedding is None else unembedding.tokenizer
        self._contexts = (
            None if unembedding is None else ContextText(unembedding.tokenizer, heldout.store, heldout.contexts)
        )
        self.of_token = cache(self._of_token)
        self._of_context = cache(self._decoded)

    def _of_token(self, token: int) -> str:
        if token < 0:
            return "?"
        return str(token) if self._tokenizer is None else text_of_token(self._tokenizer, token)

    def _decoded(self, context: int) -> list[str]:
        assert self._contexts is not None
        return self._contexts.texts(self._index[context], 0, self._size)

    def of_example(self, example: Example) -> list[str]:
        """Return the text of each token of an example."""
        if self._contexts is None:
            return [f"{token} " if token >= 0 else "? " for token in example.tokens.tolist()]
        return self._of_context(example.context)[example.begin : example.begin + len(example.tokens)]


def details(record: FeatureRecord, texts: Texts, matches: Sequence[Match], ablation: Ablation | None) -> dict[str, Any]:
    """Return a feature's details: what the page shows of it besides its entry in the index."""
    return {
        "number": record.number, "rows": record.rows, "fired": record.fired, "norm": rounded(record.norm),
        "largest": rounded(record.largest), "counts": record.counts.tolist(),
        "fires_on": [[texts.of_token(at.id), at.count, rounded(at.share)] for at in record.tokens],
        "raises": _logits(record.top_logits, texts), "lowers": _logits(record.bottom_logits, texts),
        "neighbours": [[near.number, rounded(near.cosine)] for near in record.neighbours],
        "seeds": [[match.run, match.number, rounded(match.cosine)] for match in matches],
        "ablation": None if ablation is None else [rounded(ablation.kl), ablation.positions],
        "strongest": [_example(example, texts) for example in record.strongest],
        "quantiles": [
            {"low": rounded(quantile.low), "high": rounded(quantile.high), "count": quantile.count,
             "examples": [_example(example, texts) for example in quantile.examples]}
            for quantile in record.quantiles
        ],
    }  # fmt: skip


def peak_tokens(record: FeatureRecord, texts: Texts) -> list[tuple[str, int]]:
    """Return the tokens with the largest activations of the strongest contexts, and the count of contexts of each."""
    return Counter(
        texts.of_token(int(example.tokens[example.position - example.begin])) for example in record.strongest
    ).most_common()


def _logits(logits: TokenLogits | None, texts: Texts) -> list[list[str | float]] | None:
    if logits is None:
        return None
    pairs = zip(logits.ids.tolist(), logits.values.tolist(), strict=True)
    return [[texts.of_token(token), rounded(value)] for token, value in pairs]


def _example(example: Example, texts: Texts) -> dict[str, Any]:
    """Return the texts of the tokens, the index of the firing one, and [index, activation] where it is not 0."""
    return {
        "context": example.context, "position": example.position, "firing": example.position - example.begin,
        "tokens": texts.of_example(example),
        "active": [[i, rounded(c)] for i, c in enumerate(example.activations.tolist()) if c],
    }  # fmt: skip
