"""Count a model's parameters from its configuration, on PyTorch's meta device, which allocates no memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from data.errors import InputError
from harvest.model.base import ModelFacts, first_line
from harvest.model.fast import FAMILIES
from harvest.model.find import CONFIG_ERRORS


@dataclass(frozen=True)
class ModelSize:
    """The part of a language model that a harvest runs: the embeddings and the blocks up to the last layer.

    parameters: numbers in memory; per_token: block parameters that a token uses, which for a mixture of experts are
    those of the chosen experts; attention_width: heads × head size; known: whether fast.py has the family.
    """

    parameters: int
    block_parameters: int
    per_token: float
    n_blocks: int
    attention_width: int
    known: bool


def model_size(facts: ModelFacts, last_layer: int) -> ModelSize:
    """Count the parameters up to block `last_layer`. Raises InputError if `transformers` lacks the architecture."""
    try:
        config: Any = AutoConfig.from_pretrained(facts.name, revision=facts.revision).get_text_config()
        with torch.device("meta"):
            model = AutoModel.from_config(config)
    except CONFIG_ERRORS as error:
        raise InputError(f"--model {facts.label}: its parameters cannot be counted ({first_line(error)})") from error
    blocks = next(
        (part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == facts.n_layers), None
    )
    if blocks is None:
        raise InputError(f"--model {facts.label}: has no list of {facts.n_layers} blocks, so --plan cannot count them")
    used, unused = blocks[: last_layer + 1], blocks[last_layer + 1 :]
    block_parameters = sum(_sizes(used.parameters()))
    experts = sum(p.numel() for name, p in used.named_parameters() if "experts" in name.split("."))
    return ModelSize(
        parameters=sum(_sizes(model.parameters())) - sum(_sizes(unused.parameters())),
        block_parameters=block_parameters,
        per_token=block_parameters - experts * (1 - _chosen_share(config)),
        n_blocks=len(used),
        attention_width=_attention_width(config),
        known=type(model).__name__ in FAMILIES,
    )


def _sizes(parameters: Iterable[nn.Parameter]) -> Iterable[int]:
    return (parameter.numel() for parameter in parameters)


def _chosen_share(config: Any) -> float:
    """Return the share of the experts that a token uses; 1 without experts."""
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    n_experts = next((getattr(config, name) for name in names if getattr(config, name, None)), 0)
    return getattr(config, "num_experts_per_tok", n_experts) / n_experts if n_experts else 1.0


def _attention_width(config: Any) -> int:
    """Return heads × head size; 0 for a model without attention heads."""
    heads = getattr(config, "num_attention_heads", None) or 0
    return heads * (getattr(config, "head_dim", None) or config.hidden_size // max(heads, 1))
