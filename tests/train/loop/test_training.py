"""Trainings on real stores: equal weights however they are read or grouped, diverged runs, restarts."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import data.shuffle.stream
import train.loop.trainer
from data.shuffle.mapped_shards import Shard, gather
from data.shuffle.stream import READ_AHEAD
from tests.helpers.fixture_types import Command, LocalStore, MakeStore
from tests.helpers.trainings import SHORT, SMALL
from train import load_sae
from train.loop import resample


def test_run_has_the_same_weights_alone_and_beside_other_runs_and_layers(
    store: LocalStore, trained: Path, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "alone"
    command("train", "--store", store.path, "--variant", "nsae", "--layers", "1", *SMALL, "--out", out)
    alone, beside = load_sae(out / "nsae"), load_sae(trained / "nsae", layer=1)
    assert torch.equal(alone.W_enc, beside.W_enc)


def test_layer_has_the_same_bits_alone_and_beside_other_layers(
    make_store: MakeStore, command: Command, tmp_path: Path
) -> None:
    """With 13 values per row, layers that shared a tensor would be aligned differently, and rounded differently."""
    store, _, _ = make_store(widths={f"blocks.{i}.hook_mlp_out": 13 for i in range(3)}, n_contexts=80)
    folders = []
    for layers in ("all", "1"):
        folders.append(tmp_path / layers)
        done = command(
            "train", "--store", store.path, "--variant", "baseline,gated", "--layers", layers, *SMALL, "--expansion",
            "7", "--batch-size", "100", "--out", folders[-1],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    for run in ("baseline", "gated"):
        beside, alone = (load_sae(folder / run, layer=1) for folder in folders)
        assert all(torch.equal(alone.tensors()[name], tensor) for name, tensor in beside.tensors().items())


def test_training_from_an_object_store_gives_the_same_weights(
    store: LocalStore, trained: Path, command: Command, tmp_path: Path
) -> None:
    address = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").put(str(store.path), address, recursive=True)
    out = tmp_path / "remote"
    done = command("train", "--store", address, "--variant", "baseline,nsae", *SMALL, "--out", out)
    assert done.returncode == 0, done.stderr
    assert command("train", "--resume", out).returncode == 0
    assert torch.equal(load_sae(out / "nsae", layer=0).W_enc, load_sae(trained / "nsae", layer=0).W_enc)


def test_four_runs_read_the_store_once(
    store: LocalStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counting(shard: Shard, rows: np.ndarray, out: np.ndarray) -> None:
        read.append(out.nbytes)
        gather(shard, rows, out)

    monkeypatch.setattr(data.shuffle.stream, "gather", counting)
    amounts = []
    for variants, l1 in (("baseline", "1e-3"), ("baseline,nsae", "1e-3,2e-3")):
        out = tmp_path / variants
        done = command("train", "--store", store.path, "--variant", variants, "--l1", l1, *SHORT, "--out", out)
        assert done.returncode == 0, done.stderr
        amounts.append(sum(read))
        read.clear()
    ahead = READ_AHEAD * 64 * 2 * 16 * 2  # how much was read ahead when training ended may differ
    assert abs(amounts[0] - amounts[1]) <= ahead
    assert amounts[0] == pytest.approx(15 * 64 * 2 * 16 * 2, abs=ahead)


def test_diverged_run_is_dropped_and_the_others_continue(store: LocalStore, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    arguments = ["--store", store.path, "--variant", "baseline", "--lr", "1e-3,1e30", *SHORT, "--out", out]
    done = command("train", *arguments, "--checkpoint-minutes", "0")
    assert done.returncode == 2
    assert "run baseline_lr=1e+30 diverged (non-finite loss) at step" in done.stderr
    again = command("train", *arguments)
    assert (again.returncode, "diverged (non-finite loss) at step" in again.stderr) == (2, True)
    assert "blocks.0.hook_mlp_out" in done.stderr
    assert not (out / "baseline_lr=1e+30" / "final").exists()
    good = load_sae(out / "baseline_lr=0.001", layer=0)
    assert good.W_enc.isfinite().all()
    kept = sorted((out / "baseline_lr=1e+30" / "checkpoints").iterdir())
    assert all(load_file(path / "sae.safetensors")["W_enc"].isfinite().all() for path in kept)
    lone = tmp_path / "lone"
    command("train", "--store", store.path, "--variant", "baseline", "--lr", "1e-3", *SHORT, "--out", lone)
    assert torch.allclose(good.W_enc, load_sae(lone / "baseline", layer=0).W_enc, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("interval", ["512", "256"])
def test_no_feature_is_restarted_after_the_last_step(
    store: LocalStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: str
) -> None:
    steps: list[int] = []
    whole = resample.restart_dead_features

    def restart_dead_features(*arguments: Any, step: int, **more: Any) -> bool:
        steps.append(step)
        return whole(*arguments, step=step, **more)

    monkeypatch.setattr(train.loop.trainer, "restart_dead_features", restart_dead_features)
    done = command(
        "train", "--store", store.path, "--variant", "nsae", *SHORT, "--activations", "1024", "--resample-interval",
        interval, "--resample-window", "256", "--resample-rows", "512", "--out", tmp_path / "runs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert steps == list(range(int(interval) // 64, 16, int(interval) // 64))
