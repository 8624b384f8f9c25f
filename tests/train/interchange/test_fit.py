"""Imported weights that do not belong to the store's activations are noticed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from data import Store
from train import export_sae, import_run, load_sae


def export(run: Path, tmp_path: Path, to: str = "saelens") -> Path:
    return export_sae(load_sae(run, layer=0), to=to, out=tmp_path / "exported")


def transposed(folder: Path) -> None:
    path = folder / "sae_weights.safetensors"
    saved = load_file(path)
    save_file({**saved, "W_dec": saved["W_dec"].T.reshape(saved["W_dec"].shape).contiguous()}, path)


def encoder_transposed(folder: Path) -> None:
    path = folder / "sae_weights.safetensors"
    saved = load_file(path)
    save_file({**saved, "W_enc": saved["W_enc"].T.reshape(saved["W_enc"].shape).contiguous()}, path)


def scaled(folder: Path) -> None:
    path = folder / "sae_weights.safetensors"
    saved = load_file(path)
    save_file({**saved, "W_dec": saved["W_dec"] * 12}, path)


def mislabelled(folder: Path) -> None:
    config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    config["metadata"]["hook_name"] = "blocks.1.hook_mlp_out"
    (folder / "cfg.json").write_text(json.dumps(config), encoding="utf-8")


def random(folder: Path) -> None:
    path = folder / "sae_weights.safetensors"
    generator = torch.Generator().manual_seed(0)
    save_file({name: torch.randn(t.shape, generator=generator) for name, t in load_file(path).items()}, path)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (transposed, "with W_dec transposed"),
        (encoder_transposed, "with W_enc transposed"),
        (scaled, "with the decoder multiplied by 0.0"),
        (mislabelled, "at blocks.0.hook_mlp_out: was it trained on that hook"),
        (random, "no more than shuffled weights"),
    ],
)
def test_wrong_weights_are_noticed(
    damage: Callable[[Path], None], sentence: str, run: Path, store: Store, tmp_path: Path
) -> None:
    folder = export(run, tmp_path)
    damage(folder)
    (fit,) = import_run(folder, store=store, out=tmp_path / "theirs").fits
    assert sentence in (fit.warning() or "")


def test_right_weights_are_not_warned_of(run: Path, store: Store, tmp_path: Path) -> None:
    imported = import_run(export(run, tmp_path, to="dictionary-learning"), store=store, out=tmp_path / "theirs")
    assert [fit.warning() for fit in imported.fits] == [None]
    assert imported.notes == ()


def test_a_transposed_encoder_is_noticed_in_a_format_that_stores_it_as_linear_does(
    run: Path, store: Store, tmp_path: Path
) -> None:
    folder = export(run, tmp_path, to="dictionary-learning")
    saved = torch.load(folder / "ae.pt", weights_only=True)
    weight = saved["encoder.weight"]
    torch.save({**saved, "encoder.weight": weight.T.reshape(weight.shape).contiguous()}, folder / "ae.pt")
    (fit,) = import_run(folder, store=store, out=tmp_path / "theirs").fits
    assert "with W_enc transposed" in (fit.warning() or "")


def test_a_scale_of_the_inputs_is_named_with_its_option_and_both_l0(run: Path, store: Store, tmp_path: Path) -> None:
    folder = export(run, tmp_path)
    (fit,) = import_run(folder, store=store, out=tmp_path / "raw").fits
    (scaled_fit,) = import_run(folder, store=store, out=tmp_path / "scaled", input_scale="sqrt-d").fits
    shards = [torch.from_numpy(store.rows("blocks.0.hook_mlp_out", shard)) for shard in store.shards("heldout")]
    rows = torch.cat(shards).float()
    raw, scaled_l0 = (
        float((load_sae(tmp_path / name, layer=0).encode(rows) != 0).sum(dim=1).float().mean())
        for name in ("raw", "scaled")
    )
    (name,) = (name for name in fit.corrections if "--input-scale sqrt-d" in name)
    found = re.match(r"with inputs scaled to E‖x‖ = √d, at L0 ([\d.]+) rather than ([\d.]+): ", name)
    assert found is not None
    assert float(found[1]) == pytest.approx(scaled_l0, abs=0.1)
    assert float(found[2]) == pytest.approx(raw, abs=0.06)
    # the option takes the norm of all training rows, the check that of the rows it measures
    assert fit.corrections[name] == pytest.approx(scaled_fit.explained, abs=0.01)
    assert f"{fit.corrections[name]:.3f}" != f"{fit.explained:.3f}"
