"""Capture activations with the model's own `transformers` code, skipping the unembedding and unused blocks.

TransformerLens computes attention eagerly, because it exposes the attention patterns. The standard hooks do not need
the patterns, so the model runs with fused attention and forward hooks on its modules. GPT-2's tanh-approximated GELU,
which `transformers` computes in eight passes over memory, runs in one pass and in place: a fresh output of this size
would cost as much time in zeroed pages as the GELU itself. Llama's gated MLP multiplies in place for the same reason.

Centring (`processing="centred"`) subtracts its mean over d_model from every weight that writes to the residual stream,
as TransformerLens's `center_writing_weights` does; LayerNorm removes that mean in any case. RMSNorm does not, so
models with RMSNorm stay unchanged, in TransformerLens too. Tests compare the values with TransformerLens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from data.errors import InputError
from data.hooks import layer_of
from harvest.model.base import STANDARD_HOOKS, OnActivation, Processing


@dataclass(frozen=True)
class Family:
    """The module names of a model family.

    The outputs of `attention` and `mlp` are added to the residual stream. `writers` are the weights that write to the
    residual stream and can be centred.
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
# Modules that compute down_proj(act_fn(gate_proj(x)) * up_proj(x)).
GATED_MLPS = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP", "SmolLM3MLP", "GemmaMLP", "Gemma3MLP")

T = TypeVar("T")


def takes(family: str | None, hooks: Sequence[str]) -> bool:
    """Return whether the fast path captures the hooks of a model whose base model's class has the name `family`."""
    return family in FAMILIES and set(hooks) <= set(STANDARD_HOOKS)


class FastModel:
    """A `transformers` base model without the blocks after the last requested hook. Modifies the model it is given.

    device: that of the tokens and of all activations. spread: the model's blocks are on other devices, too, and stay
    there (device_map.py). The constructor raises InputError if weights that are to be centred are on no device.
    """

    path: Literal["transformers", "transformer_lens"] = "transformers"

    def __init__(
        self, model: PreTrainedModel, names: Sequence[str], d_model: int, *, processing: Processing,
        device: torch.device, compiled: bool = False, spread: bool = False,
    ) -> None:  # fmt: skip
        family = FAMILIES[type(model).__name__]
        self.widths = dict.fromkeys(names, d_model)
        if processing == "centred":
            centre(model, family)
        for module in model.modules():
            if type(module).__name__ == "NewGELUActivation":
                _replace(model, module, TanhGELU())
            elif type(module).__name__ in GATED_MLPS and not spread:  # accelerate has replaced `forward` then
                _multiply_in_place(module)
        blocks: nn.ModuleList = getattr(model, family.blocks)
        n_blocks = 1 + max(layer_of(name) or 0 for name in names)
        setattr(model, family.blocks, blocks[:n_blocks])
        setattr(model, family.final_norm, nn.Identity())
        model.config.num_hidden_layers = n_blocks
        self.model = model if spread else model.to(device)
        self._device = device
        self.compiled = compiled
        self.compile_seconds: float | None = None
        self._compiled = torch.compile(self._collect, dynamic=False) if compiled else None
        self._compiled_for: torch.Size | None = None
        self._on_activation: OnActivation | None = None
        for name in names:
            self._attach(name, blocks[layer_of(name) or 0], family)

    @torch.inference_mode()
    def capture(self, tokens: torch.Tensor, on_activation: OnActivation) -> None:
        """See `LanguageModel.capture`. Compiles for the shape of the first batch; other shapes run uncompiled."""
        if self._compiled is not None and tokens.shape == (self._compiled_for or tokens.shape):
            begin = time.perf_counter()
            for name, value in self._compiled(tokens):
                on_activation(name, value)
            if self._compiled_for is None:
                self._compiled_for, self.compile_seconds = tokens.shape, time.perf_counter() - begin
            return
        self._run(tokens, on_activation)

    @torch.inference_mode()
    def capture_uncompiled(self, tokens: torch.Tensor, on_activation: OnActivation) -> None:
        """See `LoadedModel.capture_uncompiled`."""
        self._run(tokens, on_activation)

    def with_hooks(self, work: Callable[[], T], on_activation: OnActivation) -> T:
        """Return `work()`, calling `on_activation` with each hook's activation that it computes with this model."""
        self._on_activation = on_activation
        try:
            return work()
        finally:
            self._on_activation = None

    def _collect(self, tokens: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
        """Return the activations of all hooks; one function without callbacks can be compiled as a whole."""
        activations: list[tuple[str, torch.Tensor]] = []
        self._run(tokens, lambda name, value: activations.append((name, value)))
        return activations

    def _run(self, tokens: torch.Tensor, on_activation: OnActivation) -> None:
        self.with_hooks(lambda: self.model(input_ids=tokens, use_cache=False), on_activation)

    def _attach(self, name: str, block: nn.Module, family: Family) -> None:
        def on_output(value: Any) -> None:
            if self._on_activation is not None:
                activation = value[0] if isinstance(value, tuple) else value
                self._on_activation(name, activation.to(self._device))

        after: Callable[..., None] = lambda module, args, output: on_output(output)  # noqa: E731
        kind = name.rsplit(".hook_", 1)[1]
        if kind == "resid_pre":
            block.register_forward_pre_hook(
                lambda module, args, kwargs: on_output(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
            )
        elif kind == "resid_post":
            block.register_forward_hook(after)
        else:
            part = family.mlp if kind == "mlp_out" else family.attention
            block.get_submodule(part).register_forward_hook(after)


class TanhGELU(nn.Module):
    """GELU in its tanh approximation, in place: nothing else reads its input, a matrix product's output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.gelu_(x, approximate="tanh")


def _multiply_in_place(mlp: Any) -> None:
    """Let a gated MLP compute SiLU and the product with the gate in place: nothing else reads their inputs."""
    if isinstance(mlp.act_fn, nn.SiLU):
        mlp.act_fn = nn.SiLU(inplace=True)
    mlp.forward = lambda x: mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)).mul_(mlp.up_proj(x)))


def centre(model: nn.Module, family: Family) -> None:
    """Subtract the mean over d_model, their last axis, from the writing weights, in place, on the CPU.

    Raises InputError if some weights are left on the disk or in main memory until they are used.
    """
    for name, weight in model.named_parameters():
        if name.endswith(family.writers) and family.writers:
            if weight.is_meta:
                raise InputError(
                    "--processing centred: cannot change weights that --device-map leaves on the disk; give "
                    "--processing none, or more --max-memory"
                )
            on_cpu = weight.cpu()
            weight.copy_(on_cpu.sub_(on_cpu.mean(dim=-1, keepdim=True)))


def _replace(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in root.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
