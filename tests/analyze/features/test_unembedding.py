"""The effect of a direction on the logits, by the model's own modules, for tiny random models of many families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from analyze.features.unembedding import unembedding_weight

SIZES: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GPT2_SIZES = {"vocab_size": 61, "n_embd": 24, "n_layer": 2, "n_head": 2, "n_positions": 16}
OPT_SIZES = {"ffn_dim": 32, "word_embed_proj_dim": 24, "dropout": 0.0}
GEMMA_SIZES = {"head_dim": 12}

# Family → its configuration, and its final norm.
FAMILIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "GPT2": ("GPT2Config", GPT2_SIZES, "transformer.ln_f"),
    "GPTJ": ("GPTJConfig", GPT2_SIZES | {"rotary_dim": 4}, "transformer.ln_f"),
    "Llama": ("LlamaConfig", SIZES, "model.norm"),
    "Mistral": ("MistralConfig", SIZES, "model.norm"),
    "Qwen2": ("Qwen2Config", SIZES, "model.norm"),
    "Qwen3": ("Qwen3Config", SIZES, "model.norm"),
    "Gemma": ("GemmaConfig", SIZES | GEMMA_SIZES, "model.norm"),
    "Gemma 2": ("Gemma2Config", SIZES | GEMMA_SIZES, "model.norm"),
    "Gemma 3": ("Gemma3TextConfig", SIZES | GEMMA_SIZES, "model.norm"),
    "NeoX": ("GPTNeoXConfig", SIZES, "gpt_neox.final_layer_norm"),
    "OPT": ("OPTConfig", SIZES | OPT_SIZES, "model.decoder.final_layer_norm"),
    "Phi": ("PhiConfig", SIZES, "model.final_layernorm"),
    "Phi 3": ("Phi3Config", SIZES, "model.norm"),
    "OLMo": ("OlmoConfig", SIZES, "model.norm"),
    "Granite": ("GraniteConfig", SIZES | {"logits_scaling": 3.0}, "model.norm"),
    "Cohere": ("CohereConfig", SIZES, "model.norm"),
    "Falcon": ("FalconConfig", SIZES, "transformer.ln_f"),
    "BLOOM": ("BloomConfig", {"vocab_size": 61, "hidden_size": 24, "n_layer": 2, "n_head": 2}, "transformer.ln_f"),
}


def tiny(name: str, sizes: dict[str, Any]) -> Any:
    """A model in float32 whose every parameter is random, gains and biases included."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**sizes)).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def effect(model: Any, where: str, direction: Callable[[Tensor], Tensor], step: float = 1e-3) -> tuple[Tensor, Tensor]:
    """The direction that a function makes of a module's input [d], and what a step along it changes at the head."""
    module, head = model.double().get_submodule(where), model.get_output_embeddings()
    tokens = torch.tensor([[5, 7, 11]])
    seen: list[Tensor] = []
    module.register_forward_pre_hook(lambda module, args: seen.append(args[0].reshape(-1, args[0].shape[-1])[-1]))
    model(input_ids=tokens)
    chosen, logits = direction(seen[0].double()), []
    head.register_forward_hook(lambda module, args, output: logits.append(output.reshape(-1, output.shape[-1])[-1]))
    for sign in (1, -1):
        hook = module.register_forward_pre_hook(lambda module, args, s=sign: (args[0] + s * step * chosen, *args[1:]))
        model(input_ids=tokens)
        hook.remove()
    return chosen, logits[0] - logits[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_unembedding_predicts_the_change_of_the_logits(family: str) -> None:
    name, sizes, norm_name = FAMILIES[family]
    model = tiny(name, sizes)
    weight = unembedding_weight(model).double()
    norm = model.get_submodule(norm_name)
    subtracts_mean = "LayerNorm" in type(norm).__name__

    def direction(x: Tensor) -> Tensor:
        """One with a mean, along which the norm's divisor is constant."""
        d = torch.randn(24, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 1
        x = x - x.mean() if subtracts_mean else x
        return d - x * (x @ d) / (x @ x)

    chosen, change = effect(model, norm_name, direction)
    expected = weight @ chosen
    assert torch.nn.functional.cosine_similarity(change, expected, dim=0) > 1 - 1e-6


def test_unembedding_includes_a_projection_before_the_head() -> None:
    """OPT 350M has no final norm, and unembeds a projection of the residual stream."""
    model = tiny("OPTConfig", SIZES | OPT_SIZES | {"word_embed_proj_dim": 10, "do_layer_norm_before": False})
    weight = unembedding_weight(model)
    expected = model.lm_head.weight @ model.model.decoder.project_out.weight
    torch.testing.assert_close(weight, expected.detach())


def test_unembedding_leaves_no_hooks_on_the_model() -> None:
    model = tiny("LlamaConfig", SIZES)
    unembedding_weight(model)
    assert not any(module._forward_hooks for module in model.modules())
