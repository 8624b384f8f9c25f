"""The hooks' values by TransformerLens itself: any model and any hook that it knows, at its eager attention's speed.

`TransformerBridge` exists in TransformerLens 3.9 and 4.x. It starts from the hub's raw weights; the processing that
earlier versions applied on loading (layer norms folded, writing weights centred) is asked of it.

Not here: the faster path (fast.py).
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
from harvest.model.base import ModelFacts, Processing, Receive


class BridgeModel:
    """A TransformerBridge around a model loaded by `transformers` with eager attention."""

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
            reason = str(error).strip().split("\n")[0][:200]
            raise InputError(f"--model {facts.label}: TransformerLens cannot run it ({reason})") from error
        names = resolve(hooks, layers, list(self.bridge.hook_dict))
        blocks = [layer_of(name) for name in names]
        inside = [block for block in blocks if block is not None]
        self._stop_at_layer = max(inside) + 1 if len(inside) == len(blocks) else None
        self.widths = dict.fromkeys(names, 0)
        probe = torch.zeros((2, 3), dtype=torch.int64, device=device)
        self.capture(probe, lambda name, value: self.widths.update({name: value.shape[-1]}))
        silent = [name for name, d in self.widths.items() if not d]
        if silent:
            raise InputError(f"--hook: {', '.join(silent)} did not fire; this model does not compute it")

    @torch.inference_mode()
    def capture(self, tokens: torch.Tensor, receive: Receive) -> None:
        """See `LanguageModel.capture`. Heads and other inner axes are flattened into d."""

        def take(name: str, value: torch.Tensor, hook: Any) -> None:
            if value.shape[:2] != tokens.shape:
                raise InputError(f"--hook: {name} has shape {tuple(value.shape)}, which is not one row a token")
            receive(name, value.flatten(start_dim=2))

        self.bridge.run_with_hooks(
            tokens,
            fwd_hooks=[(name, partial(take, name)) for name in self.widths],
            return_type=None,
            stop_at_layer=self._stop_at_layer,
        )

    capture_uncompiled = capture


def _stand_in() -> PreTrainedTokenizerFast:
    """A tokenizer for TransformerLens, which wants one though only token ids are given to it."""
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    words = Tokenizer(WordLevel({token: i for i, token in enumerate(special.values())}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, name_or_path="", add_bos_token=True, **special)


def resolve(hooks: Sequence[str], layers: Sequence[int], known: Sequence[str]) -> list[str]:
    """Full hook names: one that the model has as it is, or `blocks.LAYER.` and `hook_` put before it, layer by layer.

    Raises InputError with the nearest names where there is none.
    """
    names: list[str] = []
    everything = set(known)
    for hook in hooks:
        for layer in layers:
            tries = (hook, f"hook_{hook}", f"blocks.{layer}.{hook}", f"blocks.{layer}.hook_{hook}")
            found = next((name for name in tries if name in everything), None)
            if found is None:
                near = difflib.get_close_matches(tries[2], known, n=3) or sorted(known)[:3]
                raise InputError(f"--hook {hook}: the model has no such hook at layer {layer}; near: {', '.join(near)}")
            if found not in names:
                names.append(found)
    return sorted(names, key=lambda name: (layer_of(name) is None, layer_of(name)))
