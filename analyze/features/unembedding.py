"""The tokens whose logits a direction in the residual stream raises and lowers most.

The direction is multiplied by the final norm's gain and the unembedding. The norm's scale, later layers and a cap on
the logits are ignored, so logits are only up to a positive factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from analyze.features.record import TokenLogits
from analyze.measure.patching.model import check_model, model_of_store
from data.errors import InputError
from data.store.reader import Store
from harvest.model.weights import load_transformers
from harvest.text.tokenizer import HubTokenizer

BLOCK = 128  # directions whose logits are computed at once
PROBE_SCALE = 1e4  # large, so that the norm's ε is negligible


@dataclass(frozen=True)
class Unembedding:
    """A model's tokenizer, and its unembedding with the final norm's gain: weight float32 [vocabulary, d_model]."""

    tokenizer: Any
    weight: Tensor

    def top_and_bottom_logits(self, directions: Tensor, n: int) -> list[tuple[TokenLogits, TokenLogits]]:
        """Return the n tokens whose logits each direction, normalised, raises most and lowers most.

        directions: float32 [features, d_model].
        """
        extremes = []
        for block in torch.split(nn.functional.normalize(directions, dim=1), BLOCK):
            logits = block @ self.weight.mT
            top, bottom = (logits.topk(min(n, len(self.weight)), dim=1, largest=largest) for largest in (True, False))
            extremes += [
                (TokenLogits(*of_top), TokenLogits(*of_bottom))
                for of_top, of_bottom in zip(
                    zip(top.indices.numpy(), top.values.numpy(), strict=True),
                    zip(bottom.indices.numpy(), bottom.values.numpy(), strict=True), strict=True,
                )
            ]  # fmt: skip
        return extremes


def load_unembedding(store: Store, model: str | None) -> Unembedding:
    """Load the unembedding of the model that a store was harvested with.

    `model` is the model as `harvest --model` takes it; None: the name recorded in the store. Raises InputError if the
    model is not found, is not the store's, or has no tokenizer.
    """
    facts = model_of_store(store, model)
    check_model(store, facts)
    loaded = load_transformers(facts, attention="sdpa")
    try:
        tokenizer = HubTokenizer(facts, separator="none", special_tokens="text").tokenizer
    except InputError as error:
        raise InputError(
            f"--model {facts.label}: it has no tokenizer, so tokens cannot be shown as text; add one to its folder, or "
            "give --without-model"
        ) from error
    return Unembedding(tokenizer, unembedding_weight(loaded))


@torch.inference_mode()
def unembedding_weight(model: Any) -> Tensor:
    """Return the linear map from the residual stream after the last block to logits: float32 [vocabulary, d_model].

    A forward pass over one token finds the modules between the last block and the head: the final norm, of which only
    the gain is used, and in a few models a projection. A module belongs to them if its output is proportional to the
    next one's input. Raises InputError if the model has no unembedding.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise InputError("--model: the model has no unembedding; give --without-model")
    passes = _pass_outside_blocks(model)
    weight, next_input = head.weight.detach().float(), passes.pop(head)[0]
    for module, (module_input, output) in reversed(passes.items()):
        if _are_proportional(output, next_input):
            weight = weight @ module.weight.float() if isinstance(module, nn.Linear) else with_norm_gain(weight, module)
            next_input = module_input
    return weight


def with_norm_gain(weight: Tensor, norm: nn.Module) -> Tensor:
    """Return a linear map [n, d] composed with a norm's gain, and with its subtraction of the mean if it has one.

    The gain is measured on a probe vector, because norms store it differently: Gemma's gain is 1 + weight.
    """
    d = weight.shape[1]
    probe = torch.linspace(1, 2, d)
    probe = torch.where(torch.arange(d) % 2 == 0, probe, -probe)
    probe = PROBE_SCALE * (probe - probe.mean())
    odd = (norm(probe) - norm(-probe)).float() / 2  # the bias cancels
    gained = weight * (odd / probe * probe.square().mean().sqrt())
    subtracts_mean = torch.allclose(norm(probe + PROBE_SCALE), norm(probe), rtol=1e-3, atol=1e-3)
    return gained - gained.mean(dim=1, keepdim=True) if subtracts_mean else gained


def _pass_outside_blocks(model: Any) -> dict[nn.Module, tuple[Tensor, Tensor]]:
    """Run the model on one token; return input and output of each leaf module outside the blocks, in order."""
    passes: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
            passes[module] = args[0].float(), output.float()

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
    return passes


def _are_proportional(a: Tensor, b: Tensor) -> bool:
    normal = nn.functional.normalize
    return a.shape == b.shape and torch.allclose(normal(a, dim=-1), normal(b, dim=-1), atol=1e-5)
