"""Passes of the language model that are resumed at a patched hook, against TransformerLens from the tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from analyze.measure.patching.model import ReplayedModel, ResumedModel, load_patchable
from analyze.measure.patching.passes import Reference, patch_measures
from harvest.demo import MODEL as DEMO
from harvest.model.base import ModelFacts, Processing
from harvest.model.find import find_model
from train.measures import PATCHED

CPU = torch.device("cpu")


@pytest.fixture(params=["random GPT-2", "demo"])
def model_dir(request: pytest.FixtureRequest) -> Path:
    return DEMO if request.param == "demo" else request.getfixturevalue("random_gpt2")


def some_tokens(facts: ModelFacts) -> torch.Tensor:
    return torch.randint(0, facts.vocab_size, (2, 24), generator=torch.Generator().manual_seed(1))


def names_of(facts: ModelFacts, kind: str) -> list[str]:
    return [f"blocks.{layer}.hook_{kind}" for layer in range(facts.n_layers)]


@pytest.mark.parametrize("kind", ["mlp_out", "resid_pre", "resid_post"])
@pytest.mark.parametrize("processing", ["centred", "none"])
def test_pass_resumed_at_the_patched_hook_equals_one_from_the_tokens(
    model_dir: Path, kind: str, processing: Processing
) -> None:
    facts = find_model(str(model_dir), None)
    names, tokens = names_of(facts, kind), some_tokens(facts)
    resumed = load_patchable(facts, names, processing=processing, device=CPU)
    assert isinstance(resumed, ResumedModel)
    replayed = ReplayedModel(facts, names, processing=processing, device=CPU)
    (logits, activations), (expected_logits, expected) = resumed.clean(tokens), replayed.clean(tokens)
    generator = torch.Generator().manual_seed(2)

    def centred(logits: torch.Tensor) -> torch.Tensor:  # TransformerLens centres the unembedding, too
        return logits - logits.mean(dim=-1, keepdim=True)

    torch.testing.assert_close(centred(logits), centred(expected_logits), rtol=1e-4, atol=2e-4)
    for name in names:
        torch.testing.assert_close(activations[name], expected[name], rtol=1e-4, atol=1e-4)
        value = (
            activations[name] * 0.7
            + torch.randn(activations[name].shape, generator=generator) * activations[name].std()
        )
        ours, theirs = resumed.patched(name, value), replayed.patched(name, value)
        torch.testing.assert_close(centred(ours), centred(theirs), rtol=1e-4, atol=2e-4)


@pytest.fixture
def llama_without_tokenizer(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 120}
    LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4)).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def test_model_without_a_tokenizer_can_be_patched_in_the_attention(llama_without_tokenizer: Path) -> None:
    facts = find_model(str(llama_without_tokenizer), None)
    name, tokens = "blocks.1.hook_attn_out", some_tokens(facts)
    model = load_patchable(facts, [name], processing="centred", device=CPU)
    logits, activations = model.clean(tokens)
    torch.testing.assert_close(model.patched(name, activations[name]), logits, rtol=1e-4, atol=2e-4)
    assert not torch.allclose(model.patched(name, activations[name] * 0), logits, atol=1e-3)


def test_patched_pass_runs_only_the_blocks_after_the_hook(random_gpt2: Path) -> None:
    facts = find_model(str(random_gpt2), None)
    names = names_of(facts, "mlp_out")
    model = load_patchable(facts, names, processing="centred", device=CPU)
    assert isinstance(model, ResumedModel)
    ran: list[int] = []
    for i, block in enumerate(model._blocks):
        block.register_forward_hook(lambda module, args, output, i=i: ran.append(i))
    _, activations = model.clean(some_tokens(facts))
    assert ran == [0, 1, 2]
    for i, name in enumerate(names):
        ran.clear()
        model.patched(name, activations[name])
        assert ran == list(range(i + 1, 3))


@pytest.mark.parametrize("layer", [0, 3, 5])
def test_patching_with_the_identity_scores_1_and_with_zero_scores_0(layer: int) -> None:
    facts = find_model("demo", None)
    name = f"blocks.{layer}.hook_mlp_out"
    model = load_patchable(facts, [name], processing="centred", device=CPU)
    tokens = some_tokens(facts)
    logits, activations = model.clean(tokens)
    reference = Reference(logits, tokens)
    x = activations[name]

    def sums(logits: torch.Tensor) -> np.ndarray:
        return np.append(reference.compare(logits).sum(dim=(0, 1)).numpy(), 0)

    zero = sums(model.patched(name, torch.zeros_like(x)))
    same = patch_measures(PATCHED.values(), sums(logits), zero, zero, sums(model.patched(name, x.clone())))
    assert same["score"] == pytest.approx(1, abs=1e-5)
    assert same["kl"] == pytest.approx(0, abs=1e-6)
    assert same["agreement"] == 1
    none = patch_measures(PATCHED.values(), sums(logits), zero, zero, zero)
    assert none["score"] == 0
    assert none["kl"] == none["kl_zero"] > 1e-3
