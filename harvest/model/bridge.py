"""Capture activations with TransformerLens: any model and hook that it knows, at the speed of eager attention.

`TransformerBridge` exists in TransformerLens 3.9 and 4.x. It loads the hub's raw weights, so `BridgeModel` requests
the processing that earlier versions applied on loading (folded layer norms, centred writing weights). fast.py holds
the faster path for the common model families.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from data.errors import InputError
from data.hooks import layer_of
from harvest.model.base import STANDARD_HOOKS, ModelFacts, OnActivation, Processing, first_line


class BridgeModel:
    """A TransformerBridge around a `transformers` model with eager attention.

    `bridge` is the TransformerBridge itself. The constructor raises InputError if TransformerLens cannot run the model
    or the model lacks a hook.
    """

    path: Literal["transformers", "transformer_lens"] = "transformer_lens"
    compiled, compile_seconds = False, None

    def __init__(
        self, model: PreTrainedModel, facts: ModelFacts, hooks: Sequence[str], layers: Sequence[int], *,
        processing: Processing, device: torch.device,
    ) -> None:  # fmt: skip
        try:
            self.bridge: Any = TransformerBridge.boot_transformers(
                facts.name, hf_model=model.to(device), device=str(device), revision=facts.revision,
                tokenizer=_stand_in(), trust_remote_code=False,
            )  # fmt: skip
            self.bridge.enable_compatibility_mode(disable_warnings=True, no_processing=processing == "none")
        except (ValueError, OSError, KeyError, RuntimeError) as error:  # NotImplementedError is a RuntimeError
            raise InputError(f"--model {facts.label}: TransformerLens cannot run it ({first_line(error)})") from error
        names = resolve(hooks, layers, list(self.bridge.hook_dict))
        blocks = [layer_of(name) for name in names]
        inside = [block for block in blocks if block is not None]
        self._stop_at_layer = max(inside) + 1 if len(inside) == len(blocks) else None
        self.widths = dict.fromkeys(names, 0)
        probe = torch.zeros((2, 3), dtype=torch.int64, device=device)
        self.capture(probe, lambda name, value: self.widths.update({name: value.shape[-1]}))
        unused = [name for name, d in self.widths.items() if not d]
        if unused:
            raise InputError(f"--hook: this model does not compute {', '.join(unused)}; leave it out")

    @torch.inference_mode()
    def capture(self, tokens: torch.Tensor, on_activation: OnActivation) -> None:
        """See `LanguageModel.capture`. Attention heads and other inner axes are flattened into d."""

        def on_output(name: str, value: torch.Tensor, hook: Any) -> None:
            if value.shape[:2] != tokens.shape:
                raise InputError(f"--hook: {name} has shape {tuple(value.shape)}, not one row per token; leave it out")
            on_activation(name, value.flatten(start_dim=2))

        self.bridge.run_with_hooks(
            tokens,
            fwd_hooks=[(name, partial(on_output, name)) for name in self.widths],
            return_type=None,
            stop_at_layer=self._stop_at_layer,
        )

    capture_uncompiled = capture


def _stand_in() -> PreTrainedTokenizerFast:
    """Return a placeholder tokenizer: TransformerLens requires one even though it only receives token ids."""
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    words = Tokenizer(WordLevel({token: i for i, token in enumerate(special.values())}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, name_or_path="", add_bos_token=True, **special)


def resolve(hooks: Sequence[str], layers: Sequence[int], known: Sequence[str]) -> list[str]:
    """Return full hook names, layer by layer: HOOK, hook_HOOK, blocks.LAYER.HOOK or blocks.LAYER.hook_HOOK.

    Raises InputError, with the nearest known names, if the model has none of these.
    """
    names: list[str] = []
    known_names = set(known)
    for hook in hooks:
        for layer in layers:
            candidates = (hook, f"hook_{hook}", f"blocks.{layer}.{hook}", f"blocks.{layer}.hook_{hook}")
            name = next((name for name in candidates if name in known_names), None)
            if name is None:
                accepted = similar(hook, layer, known)
                raise InputError(
                    f"--hook {hook}: the model has no such hook at layer {layer}; give {', '.join(accepted)} or another"
                )
            if name not in names:
                names.append(name)
    return sorted(names, key=lambda name: (layer_of(name) is None, layer_of(name)))


def similar(hook: str, layer: int, known: Sequence[str]) -> list[str]:
    """Return up to five names that `--hook` takes at a layer: the most similar ones, else the standard ones."""
    prefix = f"blocks.{layer}."
    inside = [name.removeprefix(prefix).removeprefix("hook_") for name in known if name.startswith(prefix)]
    names = [*STANDARD_HOOKS, *inside, *(name for name in known if layer_of(name) is None)]
    near = [name for name in names if name.startswith(hook)] + difflib.get_close_matches(hook, names)
    return list(dict.fromkeys(near or STANDARD_HOOKS))[:5]
