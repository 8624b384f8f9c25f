"""What the models' files share: the protocol of a language model, its facts, and the names of its hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from safetensors import SafetensorError

Processing = Literal["centred", "none"]
SpecialTokens = Literal["text", "parse"]
Receive = Callable[[str, torch.Tensor], None]

STANDARD_HOOKS = ("mlp_out", "resid_pre", "resid_post", "attn_out")
HUB_ERRORS = (OSError, ValueError, KeyError, ImportError, SafetensorError)


class LanguageModel(Protocol):
    """A model whose activations can be captured."""

    path: Literal["transformers", "transformer_lens"]
    widths: dict[str, int]  # full hook name → d, in the model's order

    @property
    def compiled(self) -> bool:
        """Whether it runs compiled."""

    @property
    def compile_seconds(self) -> float | None:
        """What that has cost, once it has run."""

    def capture(self, tokens: torch.Tensor, receive: Receive) -> None:
        """Run tokens int64 [batch, context]; hand each hook's activation, float32 [batch, context, d], to `receive`.

        The tensor may be reused after `receive` returns.
        """


class LoadedModel(LanguageModel, Protocol):
    """A model as it is loaded, computing in float32."""

    def capture_uncompiled(self, tokens: torch.Tensor, receive: Receive) -> None:
        """As `capture`, never compiled: for the few tokens that values are compared on."""


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model before its weights are loaded."""

    name: str  # as transformers loads it: a hub name or a directory
    label: str  # as provenance records it: no path of this machine
    revision: str | None
    n_layers: int
    d_model: int
    max_context: int | None
    vocab_size: int


def full_names(hooks: Sequence[str], layers: Sequence[int]) -> list[str]:
    """Full names of hooks that every block has, layer by layer: `mlp_out` → `blocks.0.hook_mlp_out`, …"""
    return [f"blocks.{layer}.hook_{hook}" for layer in layers for hook in hooks]


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]
