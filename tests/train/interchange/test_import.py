"""SAEs of other libraries, read from their files, compute what the files' formulas say, and become runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from analyze.runs.trained_run import find_runs
from data import Store
from data.errors import InputError
from tests.helpers.fixture_types import Command
from tests.helpers.saes.made_saes import D_MODEL, D_SAE, MADE, make
from train import export_sae, import_run, load_sae
from train.interchange.formats.registry import read_foreign

EXPORTED = [
    (name, to)
    for name, (variant, _, _, form) in MADE.items()
    for to in ("saelens", "dictionary-learning", "sparsify", "saebench", "safetensors")
    if to in ("saelens", "saebench", "safetensors")
    or (to == "dictionary-learning" and variant != "nsae" and form.rows == "none")
    or (to == "sparsify" and variant in ("topk", "frozen"))
]


@pytest.mark.parametrize(("name", "to"), EXPORTED)
def test_exports_read_back_compute_the_same(name: str, to: str, tmp_path: Path) -> None:
    sae, x = make(name)
    (foreign,) = read_foreign(export_sae(sae, to=to, out=tmp_path / "out"))
    again = foreign.sae()
    x_hat = sae(x)
    assert float((again(x) - x_hat).abs().max() / x_hat.abs().max()) < 2e-6
    f, directions = sae.encode(x) != 0, (sae.W_dec != 0).any(dim=1)
    assert torch.equal((again.encode(x) != 0) & directions, f & directions)


REFERENCES = Path(__file__).with_name("references")


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in REFERENCES.glob("*/*/rows.npz")), ids=lambda f: f.name
)
def test_files_of_the_libraries_compute_what_the_libraries_do(folder: Path) -> None:
    """The files were saved, and the values computed, by the libraries themselves (benchmarks/peers/theirs.py)."""
    (foreign,), theirs = read_foreign(folder), np.load(folder / "rows.npz")
    sae, x = foreign.sae(), torch.from_numpy(theirs["x"])
    f, x_hat = sae.encode(x).numpy() * theirs["scale"], sae(x).numpy()
    assert np.abs(f - theirs["f"]).max() < 1e-6 * np.abs(theirs["f"]).max()
    tolerance = 5e-6 if "layer_norm" in folder.name else 1e-6  # SAELens leaves its 1e-5 out on the way back
    assert np.abs(x_hat - theirs["x_hat"]).max() < tolerance * np.abs(theirs["x_hat"]).max()


def weights(generator: torch.Generator, d_sae: int = D_SAE, d_model: int = D_MODEL) -> dict[str, Tensor]:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.3

    return {
        "W_enc": normal(d_model, d_sae), "W_dec": normal(d_sae, d_model), "b_enc": normal(d_sae),
        "b_dec": normal(d_model), "threshold": normal(d_sae).abs(),
    }  # fmt: skip


def test_gemma_scope_subtracts_no_bias(tmp_path: Path) -> None:
    t = weights(torch.Generator().manual_seed(0))
    arrays: dict[str, Any] = {name: value.numpy() for name, value in t.items()}
    np.savez(tmp_path / "params.npz", **arrays)
    x = torch.randn(20, D_MODEL)
    pre = x @ t["W_enc"] + t["b_enc"]
    expected = pre * (pre > t["threshold"]) @ t["W_dec"] + t["b_dec"]
    assert torch.allclose(read_foreign(tmp_path)[0].sae()(x), expected, atol=1e-5)
    (tmp_path / "params.npz").unlink()
    save_file({name.lower(): value for name, value in t.items()}, tmp_path / "params.safetensors")
    assert torch.allclose(read_foreign(tmp_path)[0].sae()(x), expected, atol=1e-5)


def test_llama_scope_applies_the_scale_of_its_inputs(tmp_path: Path) -> None:
    t, norm = weights(torch.Generator().manual_seed(1)), 7.0
    config = {
        "dataset_average_activation_norm": {"in": norm, "out": norm}, "jump_relu_threshold": 0.3, "d_model": D_MODEL,
        "d_sae": D_SAE, "hook_point_in": "blocks.1.hook_mlp_out", "hook_point_out": "blocks.1.hook_mlp_out",
    }  # fmt: skip
    (tmp_path / "hyperparams.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "checkpoints").mkdir()
    saved = {
        "encoder.weight": t["W_enc"].T.contiguous(), "encoder.bias": t["b_enc"],
        "decoder.weight": t["W_dec"].T.contiguous(), "decoder.bias": t["b_dec"],
    }  # fmt: skip
    save_file(saved, tmp_path / "checkpoints" / "final.safetensors")
    (foreign,) = read_foreign(tmp_path)
    x, scale = torch.randn(20, D_MODEL) * 3, D_MODEL**0.5 / norm
    pre = scale * x @ t["W_enc"] + t["b_enc"]
    f = pre * (pre > 0.3 * scale)  # as SAELens loads it
    assert foreign.origin.hook == "blocks.1.hook_mlp_out"
    assert torch.allclose(foreign.sae()(x), (f @ t["W_dec"] + t["b_dec"]) / scale, atol=1e-5)


class Checkpoint:
    """Stands for the author's object; the file names its module, which nobody imports."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state


@pytest.mark.parametrize("variant", ["nsae", "baseline"])
def test_the_authors_checkpoints_become_a_run_with_a_hook_per_layer(variant: str, store: Store, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    encoder = torch.randn(2, D_SAE, D_MODEL, generator=generator)
    decoder = torch.randn(2, D_MODEL, D_SAE, generator=generator)
    if variant == "baseline":
        decoder /= decoder.norm(dim=1, keepdim=True)
    state = {
        "encoder.weight": torch.nn.Parameter(encoder), "encoder.bias": torch.randn(2, D_SAE, generator=generator),
        "decoder.weight": decoder, "tied_bias": torch.randn(2, D_MODEL, generator=generator),
    }  # fmt: skip
    torch.save({"config": Checkpoint({"lr": 1e-3}), "saved": Checkpoint({"state_dict": state})}, tmp_path / "author.pt")
    run = import_run(tmp_path / "author.pt", store=store, out=tmp_path / variant)
    x = torch.randn(10, D_MODEL, generator=generator)
    for layer in range(2):
        sae = load_sae(run.folder, layer=layer)
        pre = torch.relu((x - state["tied_bias"][layer]) @ encoder[layer].T + state["encoder.bias"][layer])
        f = pre.tanh() if variant == "nsae" else pre
        assert torch.allclose(sae(x), f @ decoder[layer].T + state["tied_bias"][layer], atol=1e-4)
        assert sae.variant == variant


def export(run: Path, tmp_path: Path, layer: int = 0, to: str = "saelens") -> Path:
    return export_sae(load_sae(run, layer=layer), to=to, out=tmp_path / f"exported{layer}")


def test_an_imported_run_is_measured_as_the_run_that_was_exported(
    run: Path, store: Store, command: Command, tmp_path: Path
) -> None:
    done = command("train", "export", run, "--to", "saelens", "--out", tmp_path / "exported")
    assert done.returncode == 0, done.stderr
    done = command("train", "import", tmp_path / "exported", "--store", store.path, "--out", tmp_path / "theirs")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("explains 0.") == 2
    source = load_sae(tmp_path / "theirs", layer=1).source
    assert source is not None
    assert source.rows == 2000
    assert done.stderr == ""
    answers = []
    for folder in (run, tmp_path / "theirs"):
        measured = command("analyze", "measures", "--store", store.path, folder, "--json")
        assert measured.returncode == 0, measured.stderr
        lines = json.loads(measured.stdout)["measures"]
        answers.append({(line["hook"], line["measure"], line["subset"]): line["value"] for line in lines})
    assert answers[0].keys() == answers[1].keys()
    same = [key for key in answers[0] if key[1] in ("l0", "explained_variance", "suppression")]
    assert len(same) >= 6
    assert all(answers[0][key] == pytest.approx(answers[1][key], rel=1e-4) for key in same)


def test_analyze_runs_shows_the_held_out_measures_of_an_imported_run(
    run: Path, store: Store, command: Command, tmp_path: Path
) -> None:
    folder = export(run, tmp_path)
    config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    del config["metadata"]["exported_from"]
    (folder / "cfg.json").write_text(json.dumps(config), encoding="utf-8")
    theirs = import_run(folder, store=store, out=tmp_path / "theirs").folder
    done = command("analyze", "runs", run, theirs, "--json")
    assert done.returncode == 0, done.stderr
    ours, other = (
        line for line in json.loads(done.stdout) if line["hook"] == "blocks.0.hook_mlp_out" and not line["noise"]
    )
    assert (other["rows"], other["planned"], other["finished"]) == (None, None, True)
    assert (other["dead"], other["settled"]) == (None, None)
    for measure in ("l0", "l1", "l2", "explained_variance", "suppression", "suppression_mean", "gamma"):
        assert other[measure] == pytest.approx(ours[measure], rel=1e-4)
    (line,) = [line for line in command("analyze", "runs", theirs).stdout.splitlines() if "| theirs |" in line]
    assert line.startswith("| blocks.0.hook_mlp_out | theirs | – | unknown | ")
    done = command("analyze", "measures", "--store", store.path, run, theirs)
    assert done.returncode == 0, done.stderr
    assert "1 of 1" not in done.stdout


def test_the_average_norm_that_saelens_does_not_save_is_the_stores_and_is_folded_at_export(
    run: Path, store: Store, tmp_path: Path
) -> None:
    folder = export(run, tmp_path)
    raw = read_foreign(folder)[0].sae()
    config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    (folder / "cfg.json").write_text(json.dumps({**config, "normalize_activations": "expected_average_only_in"}))
    imported = import_run(folder, store=store, out=tmp_path / "theirs")
    assert any("taken from the store" in note for note in imported.notes)
    rows = np.concatenate([store.rows("blocks.0.hook_mlp_out", shard) for shard in store.shards("train")])
    scale = float(np.linalg.norm(rows.astype(np.float64), axis=1).mean()) / 12**0.5
    sae, x = load_sae(imported.folder), torch.from_numpy(rows[:64].copy()).float()
    assert float(sae.input_scale) == pytest.approx(scale, rel=1e-5)
    expected = raw(x / scale) * scale
    assert torch.allclose(sae(x), expected, rtol=1e-4, atol=1e-4)
    assert torch.allclose(sae.encode(x), raw.encode(x / scale), rtol=1e-4, atol=1e-5)
    again = export_sae(sae, to="saelens", out=tmp_path / "again")
    assert json.loads((again / "cfg.json").read_text(encoding="utf-8"))["normalize_activations"] == "none"
    assert torch.allclose(read_foreign(again)[0].sae()(x), expected, rtol=1e-4, atol=1e-4)


def test_another_model_or_prefix_is_noted(run: Path, store: Store, tmp_path: Path) -> None:
    folder = export(run, tmp_path)
    config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    config["metadata"] |= {"model_name": "gpt2", "prepend_bos": False}
    (folder / "cfg.json").write_text(json.dumps(config), encoding="utf-8")
    notes = import_run(folder, store=store, out=tmp_path / "theirs").notes
    assert notes == (
        "it was trained on the model 'gpt2'; the store's is 'tiny'",
        "it was trained with no token before each context, and the store has one",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "temporal"}, "the architecture 'temporal' has no counterpart here"),
        ({"normalize_activations": "covariance_whitening"}, "whose statistics it does not hold"),
        ({"reshape_activations": "hook_z"}, "reshapes its activations"),
        ({"metadata": {"hook_name": "blocks.9.hook_resid_post"}}, "name one of the store's with --hook"),
        ({"architecture": "topk", "k": 99}, "k is not from 1"),
        ({"architecture": 3}, "architecture is not of type str"),
    ],
)
def test_foreign_sae_without_a_counterpart_is_refused(
    change: dict[str, Any], message: str, run: Path, store: Store, tmp_path: Path
) -> None:
    folder = export(run, tmp_path)
    config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    (folder / "cfg.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        import_run(folder, store=store, out=tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--store", "STORE", "--out", "OUT"], "holds no SAE of a known format"),
        (["SAE", "--store", "STORE", "--out", "RUN"], "give another --out"),
        (["SAE", "--store", "STORE", "--out", "OUT", "--hook", "resid_post"], "--hook"),
        (["SAE", "--store", "STORE", "--out", "OUT", "--input-scale", "row-norm"], "--input-scale"),
        (["SAE", "--store", "STORE", "--out", "OUT", "--revision", "main"], "--revision main: does not apply"),
        (["SAE", "--store", "nowhere.zarr", "--out", "OUT"], "nowhere.zarr"),
        (["SAE", "--out", "OUT"], "--store"),
    ],
)
def test_bad_input_is_refused_at_once(
    arguments: list[str], message: str, run: Path, store: Store, command: Command, tmp_path: Path
) -> None:
    places = {"RUN": str(run), "OUT": str(tmp_path / "out"), "STORE": str(store.path)}
    if "SAE" in arguments:
        places["SAE"] = str(export(run, tmp_path))
    done = command("train", "import", *(places.get(argument, argument) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_import_that_was_killed_is_done_by_the_same_command_and_is_no_run(
    run: Path, store: Store, tmp_path: Path
) -> None:
    folder, runs = export(run, tmp_path), tmp_path / "runs"
    partial = runs / "theirs.partial"
    partial.mkdir(parents=True)
    (partial / "run.json").write_bytes((run / "run.json").read_bytes())
    with pytest.raises(InputError, match="has no run"):
        find_runs([runs])
    imported = import_run(folder, store=store, out=runs / "theirs")
    assert [found.name for found in find_runs([runs])] == ["theirs"]
    assert sorted(path.name for path in imported.folder.iterdir()) == ["final", "metrics.jsonl", "run.json"]
    assert [path.name for path in runs.iterdir()] == ["theirs"]


def test_an_export_that_was_killed_is_not_imported(run: Path, store: Store, tmp_path: Path) -> None:
    folder = export(run, tmp_path)
    folder.rename(folder.with_name("theirs.partial"))
    with pytest.raises(InputError, match="holds no SAE of a known format"):
        import_run(tmp_path, store=store, out=tmp_path / "runs")
