"""The language model: load it by name, and capture the activations at its hooks, up to the last one asked for.

TransformerLens names the hooks and defines their values. For the families in fast.py the same values are computed by
the model's own `transformers` code, which may use fused attention; any other model or hook runs in TransformerLens's
TransformerBridge (bridge.py). The path taken is part of the store's provenance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig
from transformers.utils import logging as transformers_logging

from data.errors import InputError
from harvest.demo import MODEL as DEMO_MODEL
from harvest.hub import why_only_cache

Processing = Literal["centred", "none"]
SpecialTokens = Literal["text", "parse"]
Receive = Callable[[str, torch.Tensor], None]

STANDARD_HOOKS = ("mlp_out", "resid_pre", "resid_post", "attn_out")
transformers_logging.disable_progress_bar()  # one bar at a time: ours
transformers_logging.set_verbosity_error()  # harvest/checkpoint.py says what is wrong with weights

HUB_ERRORS = (OSError, ValueError, KeyError, ImportError, SafetensorError)
CONFIG_ERRORS = (*HUB_ERRORS, TypeError, AttributeError, StrictDataclassError)  # the JSON is of another shape


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


def find_model(name: str, revision: str | None) -> ModelFacts:
    """Resolve `--model`: `demo`, a local directory in hub format, a hub name, or an alias that TransformerLens knows.

    Raises InputError where it cannot be found or is no causal language model.
    """
    label, only_cache = name, None
    if revision is not None and (name == "demo" or Path(name).is_dir()):
        raise InputError(f"--revision {revision}: does not apply to {name}, which is no model on the hub; leave it out")
    if name == "demo":
        name = str(DEMO_MODEL)
    elif Path(name).is_dir():
        label = Path(name).resolve().name
    else:
        name = label = official_name(name)
        only_cache = why_only_cache()
    try:
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False).get_text_config()
    except CONFIG_ERRORS as error:
        if label.startswith((".", "/", "~")):
            raise InputError(f"--model {label}: there is no such folder") from error
        if only_cache:
            reason, remedy = only_cache
            raise InputError(
                f"--model {label}: {reason}, and the model is not in the hub's cache; {remedy}, or give a local "
                "directory"
            ) from error
        raise InputError(
            f"--model {label}: neither a local directory in hub format nor a model on the hub ({first_line(error)})"
        ) from error
    try:
        return ModelFacts(
            name, label, _commit(name, revision) or revision, int(config.num_hidden_layers),
            int(config.hidden_size), getattr(config, "max_position_embeddings", None), int(config.vocab_size),
        )  # fmt: skip
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"--model {label}: its configuration is not that of a transformer language model") from error


def _commit(name: str, revision: str | None) -> str | None:
    """The commit of the configuration just loaded, by its place in the hub's cache; None for a local directory."""
    found = None if Path(name).is_dir() else try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else None


def official_name(alias: str) -> str:
    """TransformerLens's short names (`gpt2-small`, `pythia-70m`) as hub names; any other name as it is."""
    try:
        try:
            from transformer_lens.supported_models import get_official_model_name  # 4.x
        except ImportError:
            from transformer_lens.loading_from_pretrained import get_official_model_name  # 3.x
        return str(get_official_model_name(alias))
    except ValueError:
        return alias


def load(
    facts: ModelFacts, hooks: Sequence[str], layers: Sequence[int], *, processing: Processing, device: torch.device,
    compiled: bool = False,
) -> LoadedModel:  # fmt: skip
    """Load the weights in float32.

    Only fast.py's models are compiled. Raises InputError where a hook does not exist, with the names that come close.
    """
    from harvest.checkpoint import load_transformers
    from harvest.fast import FAMILIES, FastModel

    model = load_transformers(facts, attention="sdpa")
    base = model.base_model
    if type(base).__name__ in FAMILIES and set(hooks) <= set(STANDARD_HOOKS):
        names = full_names(hooks, layers)
        return FastModel(base, names, facts.d_model, processing=processing, device=device, compiled=compiled)
    from harvest.bridge import BridgeModel  # TransformerLens is slow to import: only where it is needed

    if getattr(model.config, "_attn_implementation", None) != "eager":
        model = load_transformers(facts, attention="eager")  # TransformerLens computes with attention patterns
    return BridgeModel(model, facts, hooks, layers, processing=processing, device=device)


def full_names(hooks: Sequence[str], layers: Sequence[int]) -> list[str]:
    """Full names of hooks that every block has, layer by layer: `mlp_out` → `blocks.0.hook_mlp_out`, …"""
    return [f"blocks.{layer}.hook_{hook}" for layer in layers for hook in hooks]


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]
