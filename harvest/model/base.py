"""The vocabulary of language models: their protocol, what is known before loading, and hook names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from safetensors import SafetensorError

Processing = Literal["centred", "none"]
SpecialTokens = Literal["text", "parse"]
OnActivation = Callable[[str, torch.Tensor], None]  # (full hook name, activation [batch, context, d])

STANDARD_HOOKS = ("mlp_out", "resid_pre", "resid_post", "attn_out")
HUB_ERRORS = (OSError, ValueError, KeyError, ImportError, SafetensorError)  # raised by loading from the hub


class LanguageModel(Protocol):
    """A language model that passes its activations to a callback."""

    path: Literal["transformers", "transformer_lens"]
    widths: dict[str, int]  # full hook name → width d, in the model's order

    @property
    def compiled(self) -> bool:
        """True if the forward pass is compiled."""

    @property
    def compile_seconds(self) -> float | None:
        """Seconds spent compiling; None before the first compiled pass."""

    def capture(self, tokens: torch.Tensor, on_activation: OnActivation) -> None:
        """Run the model on tokens int64 [batch, context].

        Calls `on_activation` with each hook's name and activation, float32 [batch, context, d]. The model may reuse
        the tensor's memory after `on_activation` returns.
        """


class LoadedModel(LanguageModel, Protocol):
    """A loaded model, which computes in float32."""

    def capture_uncompiled(self, tokens: torch.Tensor, on_activation: OnActivation) -> None:
        """Do what `capture` does without compiling; used on the few tokens of an accuracy check."""


@dataclass(frozen=True)
class ModelFacts:
    """The facts in a model's configuration, known before the weights are loaded."""

    name: str  # what `transformers` loads: a hub name or a directory
    label: str  # what provenance records; holds no local path
    revision: str | None
    n_layers: int
    d_model: int
    max_context: int | None
    vocab_size: int


def full_names(hooks: Sequence[str], layers: Sequence[int]) -> list[str]:
    """Return the full names of standard hooks, layer by layer: `mlp_out` → `blocks.0.hook_mlp_out`, …"""
    return [f"blocks.{layer}.hook_{hook}" for layer in layers for hook in hooks]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters."""
    return str(error).strip().split("\n")[0][:200]
