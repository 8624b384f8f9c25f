"""Tokens as text, and which of them a direction in the residual stream raises and lowers most in the model's output.

The direction goes through the final norm's gain and the unembedding alone; how far the norm divides it, and what later
layers do with it, is left out: so logits are known up to a factor.

Not here: patching (lm.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from analyze.lm import check_weights, model_of_store
from data.reader import Store
from harvest.fast import FAMILIES
from harvest.lm import load_transformers, weights_fingerprint
from harvest.tokens import HubTokenizer

Moved = list[tuple[str, float]]  # tokens and logits, most first


@dataclass(frozen=True)
class Lens:
    """A model's tokenizer and unembedding: float32 [vocabulary, d_model], the final norm's gain in it."""

    tokenizer: Any
    unembedding: Tensor

    def text(self, ids: Sequence[int]) -> list[str]:
        """Each token by itself, spaces kept, ends of lines as a sign."""
        return [self.tokenizer.decode([i]).replace("\n", "↵") for i in ids]

    def moved(self, direction: Tensor, n: int = 10) -> tuple[Moved, Moved]:
        """The n tokens whose logits a direction [d_model] of unit length raises most, and those it lowers most."""
        logits = self.unembedding @ nn.functional.normalize(direction, dim=0)
        found = []
        for sign in (1, -1):
            best = (sign * logits).topk(n)
            found.append(list(zip(self.text(best.indices.tolist()), (sign * best.values).tolist(), strict=True)))
        return found[0], found[1]


def load_lens(store: Store, model: str | None) -> Lens:
    """Of the model that a store was harvested with. Raises InputError where that is not at hand, or another."""
    facts = model_of_store(store, model)
    loaded = load_transformers(facts, attention="sdpa")
    check_weights(store, facts, weights_fingerprint(loaded))
    head = loaded.get_output_embeddings().weight.detach().float()
    tokenizer = HubTokenizer(facts, separator="none").tokenizer
    family = FAMILIES.get(type(loaded.base_model).__name__)
    return Lens(tokenizer, head if family is None else with_gain(head, getattr(loaded.base_model, family.final_norm)))


def with_gain(head: Tensor, norm: nn.Module) -> Tensor:
    """The unembedding [vocabulary, d_model] behind a norm's gain; LayerNorm removes the mean of what it is given."""
    gain = norm.weight.detach().float()  # type: ignore[operator]
    if type(norm).__name__.startswith("Gemma"):
        gain = 1 + gain
    unembedding = head * gain
    return unembedding - unembedding.mean(dim=1, keepdim=True) if isinstance(norm, nn.LayerNorm) else unembedding
