"""The files that a training leaves, and the SAEs loaded from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data import InputError
from tests.helpers.fixture_types import LocalStore
from tests.helpers.trainings import WIDTHS, records
from train import NSAE, BaselineSAE, load_sae


def test_training_writes_settings_provenance_and_measures_of_each_run(store: LocalStore, trained: Path) -> None:
    for name in ("baseline", "nsae"):
        settings = json.loads((trained / name / "run.json").read_text())
        assert settings["run"]["variant"] == name
        assert settings["store"] == store.fingerprint
        assert settings["provenance"] == store.provenance
        lines = records(trained / name / "metrics.jsonl")
        assert {record["hook"] for record in lines} == set(WIDTHS)
        assert {record["split"] for record in lines} == {"train", "heldout"}
        heldout = [record for record in lines if record["split"] == "heldout"]
        assert {record["noise"] for record in heldout} == ({False, True} if name == "nsae" else {False})
        assert [r["rows"] for r in heldout if not r["noise"]][::2] == [1024, 2048, 3008, 3968]
        assert all(record["loss"] is not None and record["l0"] >= 0 for record in lines)
        assert not list((trained / name).glob("checkpoints"))
    timing = records(trained / "timing.jsonl")
    assert all(0 <= record["data_wait_share"] <= 1 for record in timing)


def test_load_sae_by_hook_or_layer_gives_the_saved_tensors(trained: Path) -> None:
    sae = load_sae(trained / "nsae", layer=1)
    assert isinstance(sae, NSAE)
    tensors = load_file(trained / "nsae" / "final" / "sae.safetensors")
    assert torch.equal(sae.W_enc, tensors["W_enc"][1])
    x = torch.randn(7, 16)
    c = sae.encode(x)
    expected = torch.tanh(torch.relu((x - sae.b_dec) @ sae.W_enc.T + sae.b_enc))
    assert torch.allclose(c, expected, atol=1e-6)
    assert torch.allclose(sae(x), expected @ sae.W_dec + sae.b_dec, atol=1e-5)
    baseline = load_sae(trained / "baseline", "blocks.0.hook_mlp_out")
    assert isinstance(baseline, BaselineSAE)
    assert torch.allclose(baseline.W_dec.norm(dim=1), torch.ones(64))
    with pytest.raises(InputError, match="name one of them"):
        load_sae(trained / "baseline")
    with pytest.raises(InputError, match="has no SAE for layer 9; it has"):
        load_sae(trained / "baseline", layer=9)
    with pytest.raises(InputError, match="there is no trained SAE at"):
        load_sae(trained / "none")


def test_loaded_sae_has_gradients_by_autograd(trained: Path) -> None:
    sae = load_sae(trained / "nsae", layer=0)
    sae.requires_grad_()
    (sae(torch.randn(5, 16)) ** 2).sum().backward()
    assert all(parameter.grad is not None for parameter in sae.parameters())


def test_last_snapshot_has_the_final_weights(trained: Path) -> None:
    steps = sorted(path.name for path in (trained / "nsae" / "snapshots").iterdir())
    assert steps == ["000000016", "000000032", "000000047", "000000062"]
    last = load_sae(trained / "nsae" / "snapshots" / "000000062", layer=0)
    assert torch.equal(last.W_enc, load_sae(trained / "nsae", layer=0).W_enc)
