"""The values of the hooks: ours, TransformerLens's, and plain transformers'."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

from data import InputError
from harvest.demo import MODEL as DEMO
from harvest.model.base import STANDARD_HOOKS, LanguageModel, Processing
from harvest.model.bridge import BridgeModel
from harvest.model.fast import FastModel
from harvest.model.find import find_model
from harvest.model.load import load

CPU = torch.device("cpu")


def captured(model: LanguageModel, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return each hook's activation; every hook must come once."""
    calls: list[tuple[str, torch.Tensor]] = []
    model.capture(tokens, lambda name, value: calls.append((name, value.clone())))
    names = [name for name, _ in calls]
    assert len(names) == len(set(names))
    assert set(names) == set(model.widths)
    return dict(calls)


def some_tokens(vocab_size: int, n: int = 24) -> torch.Tensor:
    return torch.randint(0, vocab_size, (3, n), generator=torch.Generator().manual_seed(1))


def transformer_lens(path: Path, processing: Processing, layers: list[int]) -> BridgeModel:
    facts = find_model(str(path), None)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    return BridgeModel(model, facts, STANDARD_HOOKS, layers, processing=processing, device=CPU)


MADE = {
    "Llama": (LlamaConfig, LlamaForCausalLM),
    "Mistral": (MistralConfig, MistralForCausalLM),
    "Qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "Qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "SmolLM3": (SmolLM3Config, SmolLM3ForCausalLM),
    "Gemma": (GemmaConfig, GemmaForCausalLM),
    "Gemma3": (Gemma3TextConfig, Gemma3ForCausalLM),
}


@pytest.fixture(params=["random GPT-2", "demo", "stories260K", *MADE])
def model_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "random GPT-2":
        return request.getfixturevalue("random_gpt2")
    if request.param == "demo":
        return DEMO
    if request.param == "stories260K":
        return request.getfixturevalue("stories260k")
    config, model = MADE[request.param]
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "vocab_size": 120, "head_dim": 12}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    made = model(config(**sizes, **ids, num_attention_heads=4, num_key_value_heads=2))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    made.save_pretrained(tmp_path / request.param)
    return tmp_path / request.param


@pytest.mark.parametrize("processing", ["centred", "none"])
def test_the_fast_path_equals_transformer_lens_to_float32_rounding(model_dir: Path, processing: Processing) -> None:
    facts = find_model(str(model_dir), None)
    layers = list(range(facts.n_layers))
    fast = load(facts, STANDARD_HOOKS, layers, processing=processing, device=CPU)
    assert isinstance(fast, FastModel)
    tokens = some_tokens(facts.vocab_size)
    activations, expected = captured(fast, tokens), captured(transformer_lens(model_dir, processing, layers), tokens)
    assert set(activations) == {f"blocks.{i}.hook_{hook}" for i in layers for hook in STANDARD_HOOKS}
    for name, value in activations.items():
        error = (value - expected[name]).norm() / expected[name].norm()
        assert error < 5e-6, name


def test_values_without_processing_equal_plain_transformers(random_gpt2: Path) -> None:
    facts = find_model(str(random_gpt2), None)
    fast = load(facts, ["mlp_out", "resid_post"], [0, 1, 2], processing="none", device=CPU)
    tokens = some_tokens(facts.vocab_size)
    model = AutoModelForCausalLM.from_pretrained(random_gpt2, dtype=torch.float64).eval()
    expected = {}
    for i, block in enumerate(model.transformer.h):
        block.mlp.register_forward_hook(lambda m, a, out, i=i: expected.update({f"blocks.{i}.hook_mlp_out": out}))
    with torch.no_grad():
        states = model(tokens, output_hidden_states=True).hidden_states
    expected |= {f"blocks.{i}.hook_resid_post": states[i + 1] for i in range(2)}  # the last one is after ln_f
    for name, value in expected.items():
        assert torch.allclose(captured(fast, tokens)[name].double(), value, rtol=1e-4, atol=1e-5), name


def test_work_in_place_keeps_every_bit_of_plain_transformers(model_dir: Path) -> None:
    facts = find_model(str(model_dir), None)
    layers = list(range(facts.n_layers))
    tokens = some_tokens(facts.vocab_size)
    activations = captured(load(facts, ["resid_post"], layers, processing="none", device=CPU), tokens)
    model = AutoModel.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="sdpa").eval()
    with torch.inference_mode():
        states = model(tokens, output_hidden_states=True).hidden_states[1:-1]  # the last one is after the final norm
    for layer, expected in enumerate(states):
        value = activations[f"blocks.{layer}.hook_resid_post"]
        if any(type(module).__name__ == "NewGELUActivation" for module in model.modules()):
            assert torch.allclose(
                value, expected, rtol=1e-5, atol=1e-6
            )  # one pass in place of eight rounds differently
        else:
            assert torch.equal(value, expected)


def test_centring_removes_the_mean_of_gpt2_activations(random_gpt2: Path) -> None:
    facts = find_model(str(random_gpt2), None)
    tokens = some_tokens(facts.vocab_size)
    name = "blocks.1.hook_mlp_out"
    centred, raw = (
        captured(load(facts, ["mlp_out"], [1], processing=p, device=CPU), tokens)[name] for p in ("centred", "none")
    )
    assert centred.mean(dim=-1).abs().max() < 1e-5
    assert torch.allclose(centred, raw - raw.mean(dim=-1, keepdim=True), atol=1e-4)
    assert (centred - raw).abs().max() > 0.1


def test_fast_model_has_no_blocks_after_the_last_layer(random_gpt2: Path) -> None:
    facts = find_model(str(random_gpt2), None)
    model = load(facts, ["mlp_out"], [0, 1], processing="centred", device=CPU)
    assert isinstance(model, FastModel)
    assert len(model.model.h) == 2
    assert not hasattr(model.model, "lm_head")


def test_any_transformer_lens_hook_can_be_loaded(random_gpt2: Path) -> None:
    facts = find_model(str(random_gpt2), None)
    model = load(facts, ["mlp.hook_post", "attn.hook_z"], [1], processing="centred", device=CPU)
    assert model.path == "transformer_lens"
    assert model.widths == {"blocks.1.mlp.hook_post": 192, "blocks.1.attn.hook_z": 48}


def test_unknown_hook_error_lists_similar_names(random_gpt2: Path) -> None:
    facts = find_model(str(random_gpt2), None)
    with pytest.raises(InputError, match=r"--hook mlp_outt: .* give mlp_out"):
        load(facts, ["mlp_outt"], [0], processing="centred", device=CPU)


def test_hook_without_one_row_per_token_is_refused(random_gpt2: Path) -> None:
    facts = find_model(str(random_gpt2), None)
    with pytest.raises(InputError, match="not one row per token"):
        load(facts, ["attn.hook_pattern"], [0], processing="centred", device=CPU)
