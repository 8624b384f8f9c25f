"""Which tokens a direction in the residual stream raises and lowers most in the model's output.

The direction passes the final norm's gain and the unembedding. How far the norm divides it, what later layers do with
it, and a cap of the logits are left out, so logits are known up to a positive factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from analyze.measure.patched_model import check_model, model_of_store
from analyze.report.features.token_text import alone
from data.errors import InputError
from data.store.reader import Store
from harvest.model.weights import load_transformers
from harvest.text.tokenizer import HubTokenizer

Moved = list[tuple[str, float]]  # tokens and logits, most first

PROBE_SCALE = 1e4  # large, so a norm's ε is nothing beside it


@dataclass(frozen=True)
class Lens:
    """A model's tokenizer and unembedding: float32 [vocabulary, d_model], the final norm's gain in it."""

    tokenizer: Any
    unembedding: Tensor

    def moved(self, direction: Tensor, n: int = 10) -> tuple[Moved, Moved]:
        """The n tokens whose logits a direction [d_model] of unit length raises most, and those it lowers most."""
        logits = self.unembedding @ nn.functional.normalize(direction, dim=0)
        extremes = []
        for sign in (1, -1):
            best = (sign * logits).topk(n)
            tokens = [alone(self.tokenizer, i) for i in best.indices.tolist()]
            extremes.append(list(zip(tokens, (sign * best.values).tolist(), strict=True)))
        return extremes[0], extremes[1]


def load_lens(store: Store, model: str | None) -> Lens:
    """Of the model that a store was harvested with. Raises InputError where that is not at hand, or another."""
    facts = model_of_store(store, model)
    check_model(store, facts)
    loaded = load_transformers(facts, attention="sdpa")
    try:
        tokenizer = HubTokenizer(facts, separator="none", special_tokens="text").tokenizer
    except InputError as error:
        raise InputError(
            f"--model {facts.label}: it has no tokenizer to show tokens as text; add one to its folder, or give "
            "--without-model"
        ) from error
    return Lens(tokenizer, unembedding(loaded))


@torch.inference_mode()
def unembedding(model: Any) -> Tensor:
    """The linear map from the residual stream after the last block to logits, float32 [vocabulary, d_model].

    The modules between the two are found by a run over a token: the head's input is the output of one of them, up to a
    factor. They are the final norm, of which the gain counts, and in few models a projection. Raises InputError where
    the model has no unembedding.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise InputError("--model: it has no unembedding; give --without-model")
    runs = _run_outside_blocks(model)
    weight, wanted = head.weight.detach().float(), runs.pop(head)[0]
    for module, (given, output) in reversed(runs.items()):
        if _are_proportional(output, wanted):
            weight = weight @ module.weight.float() if isinstance(module, nn.Linear) else behind_norm(weight, module)
            wanted = given
    return weight


def behind_norm(weight: Tensor, norm: nn.Module) -> Tensor:
    """A linear map [n, d] behind a norm's gain, and behind its subtraction of the mean if it does that.

    The gain is measured on a vector, because norms keep it in different ways: Gemma's is 1 + weight.
    """
    d = weight.shape[1]
    probe = torch.linspace(1, 2, d)
    probe = torch.where(torch.arange(d) % 2 == 0, probe, -probe)
    probe = PROBE_SCALE * (probe - probe.mean())
    odd = (norm(probe) - norm(-probe)).float() / 2  # without a bias
    gained = weight * (odd / probe * probe.square().mean().sqrt())
    subtracts_mean = torch.allclose(norm(probe + PROBE_SCALE), norm(probe), rtol=1e-3, atol=1e-3)
    return gained - gained.mean(dim=1, keepdim=True) if subtracts_mean else gained


def _run_outside_blocks(model: Any) -> dict[nn.Module, tuple[Tensor, Tensor]]:
    """Input and output of each module that has no parts and is in no block, in a run over one token, in order."""
    runs: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
            runs[module] = args[0].float(), output.float()

    handles = [
        module.register_forward_hook(record)
        for name, module in model.named_modules()
        if not any(module.children()) and not isinstance(module, nn.Identity | nn.Dropout)
        and not any(part.isdecimal() for part in name.split("."))
    ]  # fmt: skip
    try:
        model(input_ids=torch.zeros(1, 1, dtype=torch.int64), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return runs


def _are_proportional(a: Tensor, b: Tensor) -> bool:
    normal = nn.functional.normalize
    return a.shape == b.shape and torch.allclose(normal(a, dim=-1), normal(b, dim=-1), atol=1e-5)
