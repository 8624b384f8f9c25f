"""The hooks' values by the model's own `transformers` code: fused attention, no unembedding, no block too many.

TransformerLens computes attention eagerly, because it exposes its patterns. The hooks here need none of them, so the
model runs as `transformers` would run it, with forward hooks on its modules, and GPT-2's tanh-approximated GELU, which
`transformers` spells out in eight passes over memory, in one and in place: for tensors of this size the system hands
out fresh pages each time, and zeroing them takes as long as the GELU.

Centring (`processing="centred"`) subtracts, from every weight that writes to the residual stream, its mean over
d_model, as TransformerLens's `center_writing_weights` does; LayerNorm removes that mean in any case. RMSNorm does not,
so models with RMSNorm are left as they are, by TransformerLens too. The tests compare all of this with TransformerLens.

Not here: other families and hooks (bridge.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from data.hooks import layer_of
from harvest.model.base import Processing, Receive


@dataclass(frozen=True)
class Family:
    """Where a family keeps its modules: `attention` and `mlp` are those whose outputs are added to the residual stream.

    `writers` are the weights that write to it, if centrable.
    """

    blocks: str
    attention: str
    mlp: str
    final_norm: str
    writers: tuple[str, ...] = ()


_LLAMA = Family(blocks="layers", attention="self_attn", mlp="mlp", final_norm="norm")
FAMILIES = {
    "GPT2Model": Family(
        blocks="h", attention="attn", mlp="mlp", final_norm="ln_f",
        writers=("wte.weight", "wpe.weight", "c_proj.weight", "c_proj.bias"),
    ),
    "LlamaModel": _LLAMA,
    "MistralModel": _LLAMA,
    "Qwen2Model": _LLAMA,
    "Qwen3Model": _LLAMA,
    "SmolLM3Model": _LLAMA,
    "GemmaModel": _LLAMA,
    # Not Gemma 2: its attention caps the logits, which fused attention does not.
    "Gemma3TextModel": replace(_LLAMA, attention="post_attention_layernorm", mlp="post_feedforward_layernorm"),
}  # fmt: skip


T = TypeVar("T")


class FastModel:
    """A `transformers` base model, cut after the last block asked for. It changes the model that it is given."""

    path: Literal["transformers", "transformer_lens"] = "transformers"

    def __init__(
        self,
        model: PreTrainedModel,
        names: Sequence[str],
        d_model: int,
        *,
        processing: Processing,
        device: torch.device,
        compiled: bool = False,
    ) -> None:
        family = FAMILIES[type(model).__name__]
        self.widths = dict.fromkeys(names, d_model)
        if processing == "centred":
            centre(model, family)
        for module in model.modules():
            if type(module).__name__ == "NewGELUActivation":
                _replace(model, module, TanhGELU())
        blocks: nn.ModuleList = getattr(model, family.blocks)
        n_blocks = 1 + max(layer_of(name) or 0 for name in names)
        setattr(model, family.blocks, blocks[:n_blocks])
        setattr(model, family.final_norm, nn.Identity())
        model.config.num_hidden_layers = n_blocks
        self.model = model.to(device)
        self.compiled = compiled
        self.compile_seconds: float | None = None
        self._compiled = torch.compile(self._collect, dynamic=False) if compiled else None
        self._compiled_for: torch.Size | None = None
        self._receive: Receive | None = None
        for name in names:
            self._attach(name, blocks[layer_of(name) or 0], family)

    @torch.inference_mode()
    def capture(self, tokens: torch.Tensor, receive: Receive) -> None:
        """See `LanguageModel.capture`. Only the first shape is compiled for, which all batches but the last have."""
        if self._compiled is not None and tokens.shape == (self._compiled_for or tokens.shape):
            begin = time.perf_counter()
            for name, value in self._compiled(tokens):
                receive(name, value)
            if self._compiled_for is None:
                self._compiled_for, self.compile_seconds = tokens.shape, time.perf_counter() - begin
            return
        self._run(tokens, receive)

    @torch.inference_mode()
    def capture_uncompiled(self, tokens: torch.Tensor, receive: Receive) -> None:
        """See `LoadedModel.capture_uncompiled`."""
        self._run(tokens, receive)

    def watched(self, work: Callable[[], T], receive: Receive) -> T:
        """What `work` computes with this model, while each hook's activation is handed to `receive`."""
        self._receive = receive
        try:
            return work()
        finally:
            self._receive = None

    def _collect(self, tokens: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
        """All hooks' values at once, which can be compiled as one."""
        found: list[tuple[str, torch.Tensor]] = []
        self._run(tokens, lambda name, value: found.append((name, value)))
        return found

    def _run(self, tokens: torch.Tensor, receive: Receive) -> None:
        self.watched(lambda: self.model(input_ids=tokens, use_cache=False), receive)

    def _attach(self, name: str, block: nn.Module, family: Family) -> None:
        def take(value: Any) -> None:
            if self._receive is not None:
                self._receive(name, value[0] if isinstance(value, tuple) else value)

        after: Callable[..., None] = lambda module, args, output: take(output)  # noqa: E731
        kind = name.rsplit(".hook_", 1)[1]
        if kind == "resid_pre":
            block.register_forward_pre_hook(
                lambda module, args, kwargs: take(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
            )
        elif kind == "resid_post":
            block.register_forward_hook(after)
        else:
            part = family.mlp if kind == "mlp_out" else family.attention
            block.get_submodule(part).register_forward_hook(after)


class TanhGELU(nn.Module):
    """GELU by its approximation with tanh, which overwrites its input: a product's output that nothing else reads."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.gelu_(x, approximate="tanh")


def centre(model: nn.Module, family: Family) -> None:
    """Subtract the mean over d_model from each writing weight, in place; d_model is the last axis of all of them."""
    for name, weight in model.named_parameters():
        if name.endswith(family.writers) and family.writers:
            weight.sub_(weight.mean(dim=-1, keepdim=True))


def _replace(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in root.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
