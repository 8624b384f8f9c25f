"""A model that is spread over several devices: on a CPU, main memory and the disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from data import InputError
from harvest import harvest
from harvest.model.device_map import DeviceMap
from harvest.model.fast import FastModel
from harvest.model.find import find_model
from harvest.model.load import load
from tests.harvest.model.test_values import MADE, captured, some_tokens
from tests.helpers.fixture_types import Command

CPU = torch.device("cpu")
SETTINGS: dict[str, Any] = {
    "tokens": "4k", "hook": "mlp_out,resid_pre", "layers": "0,2-3", "context_size": 32, "device": "cpu", "quiet": True,
}  # fmt: skip


def save_model(kind: str, folder: Path) -> Path:
    """Save a model of five blocks with random weights in several files; return its folder."""
    config, model = MADE[kind]
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 5, "vocab_size": 211, "head_dim": 12}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    made = model(config(**sizes, **ids, num_attention_heads=4, num_key_value_heads=2))
    made.save_pretrained(folder / kind, max_shard_size="50KB")
    return folder / kind


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model("Llama", tmp_path_factory.mktemp("models"))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("strategy", ["auto", "balanced_low_0", "sequential"])
def test_harvest_from_main_memory_and_the_disk_writes_the_plain_store(
    strategy: str, llama: Path, token_file: Path, tmp_path: Path
) -> None:
    harvest(llama, dataset=token_file, out=tmp_path / "plain.zarr", **SETTINGS)
    harvest(
        llama, dataset=token_file, out=tmp_path / "spread.zarr", device_map=strategy, max_memory={"cpu": "300KB"},
        **SETTINGS,
    )  # fmt: skip
    assert contents(tmp_path / "spread.zarr") == contents(tmp_path / "plain.zarr")


def test_command_says_how_many_blocks_are_on_which_device(
    llama: Path, token_file: Path, command: Command, tmp_path: Path
) -> None:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items() if name != "quiet"]
    done = command(
        "harvest", "--model", llama, "--dataset", token_file, *options, "--device-map", "auto",
        "--max-memory", "cpu=300KB", "--out", tmp_path / "s.zarr", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "blocks of the model: 2 on the CPU, 2 on the disk" in done.stderr  # the fifth is not loaded
    assert json.loads(done.stdout)["complete"]


@pytest.mark.parametrize("kind", MADE)
def test_spread_models_of_each_family_compute_the_same_values(kind: str, tmp_path: Path) -> None:
    facts = find_model(str(save_model(kind, tmp_path)), None)
    tokens = some_tokens(facts.vocab_size)
    hooks, layers = ["attn_out", "resid_post"], [1, 3]
    plain = load(facts, hooks, layers, processing="centred", device=CPU)
    device_map = DeviceMap("sequential", {"cpu": 100_000})
    spread = load(facts, hooks, layers, processing="centred", device=CPU, device_map=device_map)
    assert isinstance(spread, FastModel)
    assert any(parameter.is_meta for parameter in spread.model.parameters())  # on the disk
    expected = captured(plain, tokens)
    assert all(torch.equal(value, expected[name]) for name, value in captured(spread, tokens).items())


def test_activations_come_to_the_device_of_the_harvest(llama: Path) -> None:
    facts = find_model(str(llama), None)
    device = torch.device("meta")  # stands for the device of the writer; the model computes on the CPU
    spread = load(
        facts, ["mlp_out", "resid_pre"], [0, 1], processing="none", device=device,
        device_map=DeviceMap("auto", {"cpu": 10**9}),
    )  # fmt: skip
    calls: list[torch.device] = []
    spread.capture(some_tokens(facts.vocab_size), lambda name, value: calls.append(value.device))
    assert calls == [device] * 4


def test_gpt2_is_spread_without_centring_only(random_gpt2: Path) -> None:
    facts = find_model(str(random_gpt2), None)
    tokens, device_map = some_tokens(facts.vocab_size), DeviceMap("auto", {"cpu": 200_000})
    plain = load(facts, ["mlp_out"], [2], processing="none", device=CPU)
    spread = load(facts, ["mlp_out"], [2], processing="none", device=CPU, device_map=device_map)
    for name, value in captured(plain, tokens).items():
        assert torch.equal(value, captured(spread, tokens)[name])
    with pytest.raises(InputError, match=r"--processing centred: .*; give --processing none, or more --max-memory"):
        load(facts, ["mlp_out"], [2], processing="centred", device=CPU, device_map=device_map)
    whole = load(facts, ["mlp_out"], [2], processing="centred", device=CPU, device_map=DeviceMap("auto"))
    centred = load(facts, ["mlp_out"], [2], processing="centred", device=CPU)
    for name, value in captured(centred, tokens).items():
        assert torch.equal(value, captured(whole, tokens)[name])


def test_weights_of_blocks_that_are_needed_must_be_there(llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(llama, tmp_path / "damaged"))
    index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
    name = "model.layers.1.mlp.up_proj.weight"
    file = folder / index["weight_map"][name]
    weights = load_file(file)
    weights["model.layers.1.mlp.other.weight"] = weights.pop(name)
    save_file(weights, file, metadata={"format": "pt"})
    facts = find_model(str(folder), None)
    load(facts, ["mlp_out"], [0], processing="none", device=CPU, device_map=DeviceMap("auto"))
    with pytest.raises(InputError, match=f"they lack {name}; they have, beyond its architecture"):
        load(facts, ["mlp_out"], [1], processing="none", device=CPU, device_map=DeviceMap("auto"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device_map": "auto", "compile": "yes"}, "a model on several devices is not compiled; give --compile no"),
        ({"device_map": "auto", "hook": "mlp.hook_post"}, "runs in TransformerLens with these hooks, on one device"),
        ({"device_map": "auto", "max_memory": "0=1GB"}, "--max-memory 0=…: the harvest has 0 GPUs"),
        ({"max_memory": "cpu=1GB"}, "--max-memory: has no effect without --device-map"),
    ],
)
def test_options_that_a_device_map_excludes_are_refused(
    options: dict[str, str], sentence: str, llama: Path, token_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=sentence):
        harvest(llama, dataset=token_file, out=tmp_path / "s.zarr", **(SETTINGS | options))
    assert not list(tmp_path.iterdir())


def test_processes_that_share_a_machine_cannot_spread_a_model_each(
    llama: Path, token_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torchrun = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"--device-map auto: .* 2 processes share; start one process per machine"):
        harvest(llama, dataset=token_file, out=tmp_path / "s.zarr", device_map="auto", **SETTINGS)
