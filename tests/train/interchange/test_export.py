"""Exported SAEs, read back by the formulas of the other libraries in float64, compute what ours do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from data.errors import InputError
from tests.helpers.fixture_types import Command
from tests.helpers.saes.made_saes import MADE, make
from train import export_sae, load_sae
from train.interchange.export import export_run
from train.sae import SAE

Array = NDArray[np.float64]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def k_largest(x: Array, k: int) -> Array:
    kept = np.zeros_like(x)
    top = np.argsort(-x, axis=1)[:, :k]
    np.put_along_axis(kept, top, np.take_along_axis(x, top, axis=1), axis=1)
    return kept


def arrays(tensors: dict[str, torch.Tensor]) -> dict[str, Array]:
    return {name: tensor.double().numpy() for name, tensor in tensors.items()}


def by_saelens(folder: Path, x: Array) -> tuple[Array, Array]:
    """Return f and x̂ as sae_lens 6.54 computes them."""
    config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    t = arrays(load_file(folder / "sae_weights.safetensors"))
    assert t["W_enc"].shape == (config["d_in"], config["d_sae"])
    offset, divided_by, multiplied_by = 0.0, np.ones((len(x), 1)), np.ones((len(x), 1))
    if config["normalize_activations"] == "constant_norm_rescale":
        divided_by = multiplied_by = np.linalg.norm(x, axis=1, keepdims=True) / config["d_in"] ** 0.5
    elif config["normalize_activations"] == "layer_norm":
        offset, multiplied_by = x.mean(axis=1, keepdims=True), x.std(axis=1, ddof=1, keepdims=True)
        divided_by = multiplied_by + 1e-5  # which SAELens leaves out on the way back
    seen = (x - offset) / divided_by - t["b_dec"] * config["apply_b_dec_to_input"]
    pre = seen @ t["W_enc"] + t.get("b_enc", 0.0)
    match config["architecture"]:
        case "standard":
            f = relu(pre)
        case "nsae":
            f = np.tanh(relu(pre))
        case "topk":
            f = relu(k_largest(pre, config["k"]))
        case "jumprelu":
            f = pre * (pre > t["threshold"])
        case "gated":
            f = (pre + t["b_gate"] > 0) * relu(seen @ (t["W_enc"] * np.exp(t["r_mag"])) + t["b_mag"])
    return f, (f @ t["W_dec"] + t["b_dec"]) * multiplied_by + offset


def by_dictionary_learning(folder: Path, x: Array) -> tuple[Array, Array]:
    """Return f and x̂ as dictionary_learning 0.1.0 computes them."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["trainer"]
    t = arrays(torch.load(folder / "ae.pt", weights_only=True))
    W_enc = t["encoder.weight"].T if "encoder.weight" in t else t["W_enc"]
    W_dec = t["decoder.weight"].T if "decoder.weight" in t else t["W_dec"]
    match config["dict_class"]:
        case "AutoEncoder":
            assert np.allclose(np.linalg.norm(W_dec, axis=1), 1)  # else the loader changes the scale of f
            f, bias = relu((x - t["bias"]) @ W_enc + t["encoder.bias"]), t["bias"]
        case "AutoEncoderNew":
            f, bias = relu(x @ W_enc + t["encoder.bias"]), t["decoder.bias"]
        case "GatedAutoEncoder":
            bias = t["decoder_bias"]
            pre = (x - bias) @ W_enc
            f = (pre + t["gate_bias"] > 0) * relu(np.exp(t["r_mag"]) * pre + t["mag_bias"])
        case "JumpReluAutoEncoder":
            pre, bias = x @ W_enc + t["b_enc"], t["b_dec"]
            f = relu(pre * (pre > t["threshold"]))
        case "AutoEncoderTopK":
            bias = t["b_dec"]
            f = k_largest(relu((x - bias) @ W_enc + t["encoder.bias"]), config["k"])
        case "BatchTopKSAE" | "MatryoshkaBatchTopKSAE":
            bias = t["b_dec"]
            pre = relu((x - bias) @ W_enc + (t["b_enc"] if "b_enc" in t else t["encoder.bias"]))
            f = pre * (pre > t["threshold"])
            assert "group_sizes" not in t or t["group_sizes"].sum() == f.shape[1]
    assert config.get("k", 0) == t.get("k", 0)
    return f, f @ W_dec + bias


def by_sparsify(folder: Path, x: Array) -> tuple[Array, Array]:
    """Return f and x̂ as sparsify 1.3 computes them."""
    config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    t = arrays(load_file(folder / "sae.safetensors"))
    f = k_largest(relu((x - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"]), config["k"])
    return f, f @ t["W_dec"] + t["b_dec"]


def by_plain(folder: Path, x: Array) -> tuple[Array, Array]:
    """Return f and x̂ by the formulas of train/interchange/formats/plain.py."""
    config = json.loads((folder / "sae.json").read_text(encoding="utf-8"))
    t = arrays(load_file(folder / "sae.safetensors"))
    offset, scale = 0.0, np.ones((len(x), 1))
    if config["rows"] == "norm":
        scale = np.linalg.norm(x, axis=1, keepdims=True) / config["d_in"] ** 0.5
    elif config["rows"] == "deviation":
        offset, scale = x.mean(axis=1, keepdims=True), x.std(axis=1, ddof=1, keepdims=True) + 1e-5
    seen = (x - offset) / scale
    pre = (seen - t["b_dec"] if config["subtracts_bias"] else seen) @ t["W_enc"] + t["b_enc"]
    match config["activation"]:
        case "relu":
            f = relu(pre)
        case "tanh":
            f = np.tanh(relu(pre))
        case "topk":
            f = k_largest(relu(pre), config["k"])
        case "jumprelu":
            f = pre * (pre > t["threshold"])
        case "gated":
            f = (pre + t["b_gate"] > 0) * relu(np.exp(t["r_mag"]) * pre + t["b_mag"])
    return f, (f @ t["W_dec"] + t["b_dec"]) * scale + offset


READERS = {
    "saelens": by_saelens, "dictionary-learning": by_dictionary_learning, "sparsify": by_sparsify,
    "saebench": by_plain, "safetensors": by_plain,
}  # fmt: skip
TOPK = {"topk", "topk-free", "frozen"}
ROWS = {"row-norm", "layer-norm"}
REFUSED = {
    "dictionary-learning": {"nsae", "nsae-scaled", *ROWS},
    "sparsify": set(MADE) - TOPK,
}


def float64_of(sae: SAE) -> SAE:
    return sae.double()


def relative(difference: Array, reference: Array) -> float:
    return float(np.abs(difference).max() / np.abs(reference).max())


@pytest.mark.parametrize("to", READERS)
@pytest.mark.parametrize("name", MADE)
def test_exported_saes_compute_the_same_by_the_librarys_formulas(name: str, to: str, tmp_path: Path) -> None:
    sae, x = make(name)
    if name in REFUSED.get(to, ()):
        with pytest.raises(InputError, match=rf"^--to {to}: .*give --to"):
            export_sae(sae, to=to, out=tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return
    f, x_hat = READERS[to](export_sae(sae, to=to, out=tmp_path / "out"), x.double().numpy())
    exact = float64_of(sae)
    expected, expected_x = exact.encode(x.double()), exact(x.double()).numpy()
    difference = relative(x_hat - expected_x, expected_x)
    if (name, to) == ("layer-norm", "saelens"):
        assert 1e-6 < difference < 5e-6  # 1e-5 over the rows' deviations
    else:
        assert difference < 5e-7  # of float32
    ours = expected.numpy() * (sae.W_dec != 0).any(dim=1).numpy()  # a feature without a direction may stay silent
    f = f * (sae.W_dec != 0).any(dim=1).numpy()
    assert ((f != 0) == (ours != 0)).all()
    live = (ours != 0).any(axis=0)
    scale = f[:, live].max(axis=0) / ours[:, live].max(axis=0)  # the norms that were folded into the encoder
    assert relative(f[:, live] - ours[:, live] * scale, f) < 5e-7
    assert live.sum() > 5


@pytest.mark.parametrize("name", [name for name in MADE if name not in ("topk-free", "batchtopk-free")])
def test_activations_keep_their_scale_in_saelens(name: str, tmp_path: Path) -> None:
    sae, x = make(name)
    f, _ = by_saelens(export_sae(sae, to="saelens", out=tmp_path / "out"), x.double().numpy())
    expected = float64_of(sae).encode(x.double()).numpy()
    assert relative(f - expected, expected) < 5e-7


def test_metadata_name_the_hook_layer_model_and_text(run: Path, tmp_path: Path) -> None:
    sae = load_sae(run, layer=1)
    origin = {"model_name": "tiny", "hook_name": "blocks.1.hook_mlp_out", "context_size": 64, "dataset_path": "texts"}
    config = json.loads((export_sae(sae, to="saelens", out=tmp_path / "a") / "cfg.json").read_text(encoding="utf-8"))
    assert config["metadata"].items() >= origin.items()
    assert config["metadata"]["prepend_bos"] is True
    assert config["metadata"]["exported_from"]["trained_rows"] == 2000
    assert config["metadata"]["model_from_pretrained_kwargs"] == {"center_writing_weights": True}
    folder = export_sae(sae, to="dictionary-learning", out=tmp_path / "b")
    trainer: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))["trainer"]
    assert (trainer["layer"], trainer["lm_name"], trainer["submodule_name"]) == (1, "tiny", "blocks.1.hook_mlp_out")


def test_a_command_writes_a_folder_per_hook(run: Path, command: Command, tmp_path: Path) -> None:
    done = command("train", "export", run, "--to", "saelens", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    hooks = [f"blocks.{layer}.hook_mlp_out" for layer in (0, 1)]
    assert done.stdout.split() == [str(tmp_path / "out" / hook) for hook in hooks]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == hooks
    one = command("train", "export", run, "--to", "safetensors", "--out", tmp_path / "one", "--layers", "1")
    assert [path.name for path in (tmp_path / "one").iterdir()] == hooks[1:], one.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "--to", "keras", "--out", "OUT"], "--to"),
        (["RUN", "--to", "sparsify", "--out", "OUT"], "--to sparsify: has TopK SAEs of raw activations alone"),
        (["RUN", "--to", "saelens", "--out", "RUN"], "give another --out"),
        (["nowhere", "--to", "saelens", "--out", "OUT"], "there is no trained SAE at nowhere"),
        (["RUN", "--to", "saelens", "--out", "OUT", "--layers", "7"], "layer"),
        (["RUN", "--to", "saelens"], "--out"),
    ],
)
def test_bad_input_is_refused_at_once(
    arguments: list[str], message: str, run: Path, command: Command, tmp_path: Path
) -> None:
    (run / "blocks.0.hook_mlp_out").mkdir(exist_ok=True)
    places = {"RUN": str(run), "OUT": str(tmp_path / "out")}
    done = command("train", "export", *(places.get(argument, argument) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_export_that_fails_midway_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: Path, hook: str) -> SAE:
        if hook.startswith("blocks.1"):
            raise InputError("damaged")
        return load_sae(path, hook)

    monkeypatch.setattr("train.interchange.export.load_sae", load)
    with pytest.raises(InputError, match="damaged"):
        export_run(run, to="saelens", out=tmp_path / "exported")
    assert not any(tmp_path.iterdir())
