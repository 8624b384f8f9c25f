"""Shards that are damaged can be left out: by `train` as part of the experiment, and by the commands that measure."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from data import open_store
from data.command.progress import Bar
from data.errors import DamagedError
from tests.helpers.fixture_types import Command, LocalStore, MakeStore, TrainSmall

TRAIN = [
    "--variant",
    "baseline",
    "--expansion",
    "2",
    "--batch-size",
    "64",
    "--validate-every",
    "640",
    "--device",
    "cpu",
]
WIDTHS = {"blocks.0.hook_mlp_out": 8, "blocks.1.hook_mlp_out": 8}


def damage(store: LocalStore, hook: int, shard: int) -> Path:
    path = store.path / f"blocks.{hook}.hook_mlp_out" / f"c.{shard}.0"
    path.write_bytes(bytes(path.stat().st_size))
    return path


def weights(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("final/sae.safetensors")}


def test_store_without_shards_lists_and_counts_the_remaining_ones(make_store: MakeStore) -> None:
    store, _, _ = make_store(widths=WIDTHS)
    rest = store.without([1, 7])
    assert rest.shards("heldout") == [0, 2]
    assert 7 not in rest.shards("train")
    assert rest.n_rows("train") == store.n_rows("train") - store.shard_rows(7)
    assert rest.statistics("blocks.0.hook_mlp_out").count() == rest.n_rows("train")


def test_train_stops_at_a_damaged_shard_unless_skip_damaged_is_given(
    make_store: MakeStore, command: Command, tmp_path: Path
) -> None:
    store, _, _ = make_store(widths=WIDTHS)
    damaged = [damage(store, 1, 7), damage(store, 0, 1)]
    arguments = ["--store", store.path, "--activations", "2560", *TRAIN]
    stopped = command("train", *arguments, "--out", tmp_path / "stopped")
    assert stopped.returncode == 2
    assert any(str(path) in stopped.stderr for path in damaged), stopped.stderr
    assert "--skip-damaged" in stopped.stderr
    done = command("train", *arguments, "--skip-damaged", "--out", tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    assert all(f"left out: shard {n}: {path}" in done.stderr for n, path in zip((7, 1), damaged, strict=True))
    recorded = json.loads((tmp_path / "whole" / "experiment.json").read_text(encoding="utf-8"))
    assert recorded["settings"]["left_out"] == [1, 7]


def test_resumed_experiment_leaves_out_the_same_damaged_shards(
    make_store: MakeStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, _ = make_store(widths=WIDTHS)
    damaged = damage(store, 1, 7)
    arguments = ["--store", store.path, "--activations", "2560", *TRAIN, "--skip-damaged"]
    assert command("train", *arguments, "--out", tmp_path / "whole").returncode == 0
    run_pending, steps = "train.loop.trainer.Trainer.run_pending", []

    from train.loop.trainer import Trainer

    original = Trainer.run_pending

    def stop_half_way(self: Trainer, bar: Bar, stop: threading.Event) -> None:
        steps.append(self.step)
        if self.step == 20:
            stop.set()
        original(self, bar, stop)

    monkeypatch.setattr(run_pending, stop_half_way)
    assert command("train", *arguments, "--out", tmp_path / "parts").returncode == 75
    monkeypatch.setattr(run_pending, original)
    damaged.unlink()  # nobody looks at it again
    done = command("train", *arguments, "--out", tmp_path / "parts")
    assert done.returncode == 0, done.stderr
    assert "shards 7 are left out, as before" in done.stderr
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole") != {}


def test_measures_stop_at_a_damaged_shard_unless_skip_damaged_is_given(
    make_store: MakeStore, command: Command, train_small: TrainSmall
) -> None:
    store, _, _ = make_store(widths=WIDTHS)
    out = train_small(store, "--variant", "baseline")
    damaged = damage(store, 0, 1)
    stopped = command("analyze", "measures", "--store", store.path, out)
    assert stopped.returncode == 2
    assert str(damaged) in stopped.stderr
    done = command("analyze", "measures", "--store", store.path, out, "--skip-damaged", "--json")
    assert done.returncode == 0, done.stderr
    assert f"left out: shard 1: {damaged}" in done.stderr
    assert json.loads(done.stdout)["rows"] == store.n_rows("heldout") - store.shard_rows(1)


def test_exchanged_context_or_position_file_of_a_shard_is_refused(make_store: MakeStore) -> None:
    store, _, _ = make_store()
    for name in ("context", "position"):
        path = store.path / name / "c.3"
        whole = path.read_bytes()
        path.write_bytes((store.path / name / "c.4").read_bytes())
        with pytest.raises(DamagedError, match=str(path)):
            open_store(store.path).origin(3)
        path.write_bytes(whole)
