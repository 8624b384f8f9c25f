"""A model's weights are loaded whole or not at all, and known by their content."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from data import InputError
from harvest.model.find import find_model
from harvest.model.weights import load_transformers, model_fingerprint

Weights = dict[str, torch.Tensor]


@pytest.fixture
def edited(random_gpt2: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy a model and change its weights."""

    def edit(change: Callable[[Weights], Weights], model: Path = random_gpt2, name: str = "edited") -> Path:
        path = tmp_path / name
        shutil.copytree(model, path)
        weights = change(load_file(path / "model.safetensors"))
        save_file({k: v.contiguous() for k, v in weights.items()}, path / "model.safetensors", {"format": "pt"})
        return path

    return edit


def load(path: Path) -> Any:
    return load_transformers(find_model(str(path), None), attention="sdpa")


def test_loading_weights_prints_nothing(random_gpt2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(random_gpt2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {f"_orig_mod.{k}": v for k, v in w.items()}, r"lack .* and \d+ more; they have, beyond .*_orig_mod"),
        (lambda w: {f"module.{k}": v for k, v in w.items()}, r"beyond its architecture, module\.transformer"),
        (lambda w: {k: v for k, v in w.items() if "h.1.mlp" not in k}, r"they lack transformer\.h\.1\.mlp\.c_fc\.bias"),
        (lambda w: w | {"transformer.h.9.ln_1.bias": torch.zeros(48)}, r"architecture, transformer\.h\.9\.ln_1\.bias;"),
        (lambda w: w | {"transformer.h.1.ln_1.bias": torch.zeros(47)}, r"in another shape transformer\.h\.1\.ln_1"),
    ],
    ids=["compiled", "parallel", "missing", "surplus", "another shape"],
)
def test_weights_that_do_not_fit_are_refused_with_some_names(
    edited: Callable[..., Path], change: Callable[[Weights], Weights], message: str
) -> None:
    with pytest.raises(InputError, match=rf"^--model edited: its weights do not fit .*{message}"):
        load(edited(change))


def test_weights_without_the_base_prefix_and_with_old_buffers_are_loaded(
    edited: Callable[..., Path], random_gpt2: Path
) -> None:
    """As the hub's gpt2 has them."""
    buffers = {"h.0.attn.bias": torch.ones(1, 1, 64, 64), "h.0.attn.masked_bias": torch.zeros(1)}
    path = edited(lambda w: {k.removeprefix("transformer."): v for k, v in w.items()} | buffers)
    loaded, expected = load(path), load(random_gpt2)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), expected.parameters(), strict=True))


def test_rotary_buffers_of_old_checkpoints_are_ignored(edited: Callable[..., Path], tmp_path: Path) -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, vocab_size=50)).save_pretrained(tmp_path / "neox")
    old = "gpt_neox.layers.0.attention."
    buffers = {f"{old}{name}": torch.zeros(4) for name in ("bias", "masked_bias", "rotary_emb.inv_freq")}
    load(edited(lambda w: w | buffers, model=tmp_path / "neox"))


def test_pickled_weights_are_refused_with_the_remedy(random_gpt2: Path, tmp_path: Path) -> None:
    path = tmp_path / "pickled"
    shutil.copytree(random_gpt2, path)
    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    for use in (load, lambda path: model_fingerprint(find_model(str(path), None))):
        with pytest.raises(InputError, match=r"^--model pickled: .*pytorch_model\.bin.*save_pretrained"):
            use(path)


def test_sharded_weights_are_loaded_and_a_missing_shard_is_named(random_gpt2: Path, tmp_path: Path) -> None:
    path = tmp_path / "sharded"
    load(random_gpt2).save_pretrained(path, max_shard_size="100KB")
    shards = sorted(path.glob("model-*.safetensors"))
    assert len(shards) > 1
    load(path)
    before = model_fingerprint(find_model(str(path), None))
    with open(shards[-1], "r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert model_fingerprint(find_model(str(path), None)) != before
    shards[-1].unlink()
    with pytest.raises(InputError, match=rf"--model sharded: it lacks {shards[-1].name}"):
        load(path)


def test_the_fingerprint_covers_weights_unembedding_and_configuration(
    edited: Callable[..., Path], random_gpt2: Path
) -> None:
    def fingerprint(path: Path) -> str:
        return model_fingerprint(find_model(str(path), None))

    def with_bias(weights: Weights) -> Weights:
        weights["transformer.h.2.mlp.c_proj.bias"][3] += 1e-3
        return weights

    before = fingerprint(random_gpt2)
    same = edited(lambda w: w, name="same")
    assert fingerprint(same) == before
    assert fingerprint(edited(with_bias, name="bias")) != before
    unembedding = {"lm_head.weight": torch.randn(211, 48)}
    assert fingerprint(edited(lambda w: w | unembedding, name="unembedding")) != before
    config = json.loads((same / "config.json").read_text())
    (same / "config.json").write_text(json.dumps(config | {"transformers_version": "0", "_name_or_path": "x"}))
    assert fingerprint(same) == before
    (same / "config.json").write_text(json.dumps(config | {"layer_norm_epsilon": 1e-3}))
    assert fingerprint(same) != before


def test_lfs_pointer_and_damaged_weight_index_are_named(random_gpt2: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(random_gpt2, model)
    weights = model / "model.safetensors"
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n")
    with pytest.raises(InputError, match=r"model\.safetensors is a Git LFS pointer, .*; run `git lfs pull`"):
        load(model)
    weights.unlink()
    for content in ("[]", "{", '{"weight_map": 3}'):
        (model / "model.safetensors.index.json").write_text(content)
        with pytest.raises(InputError, match=r"its model\.safetensors\.index\.json is damaged"):
            load(model)


@pytest.mark.parametrize("change", [None, {"n_layer": "two"}, {"n_head": 7}, {"vocab_size": None}])
def test_malformed_model_configuration_is_refused(
    random_gpt2: Path, tmp_path: Path, change: dict[str, Any] | None
) -> None:
    shutil.copytree(random_gpt2, tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps(change and json.loads(config.read_text()) | change))
    with pytest.raises(InputError, match=r"^--model model: "):
        load(tmp_path / "model")
