"""Training in the order of the store's windows: each row once, normalised by the first windows."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from analyze.runs.same_rows import check_store
from analyze.runs.trained_run import find_runs
from data import ShuffledStream
from data.errors import Stopped
from data.store.writing.lifecycle import worker_lock
from data.system.lock import locked
from tests.helpers.fixture_types import Command, LocalStore, MakeStore
from tests.helpers.trainings import WIDTHS
from train import load_sae
from train.loop import following
from train.loop.following import wait_for_store

FOLLOW = [
    "--follow", "--mix-windows", "2", "--expansion", "2", "--batch-size", "64", "--activations", "4k",
    "--validate-every", "2k", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def windows(make_store_in: MakeStore, tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """Return a store with 6080 training rows in 13 windows of 4 shards."""
    return make_store_in(n_contexts=200, widths=WIDTHS, root=tmp_path_factory.mktemp("windows"))[0]


def test_each_row_is_visited_once_and_windows_in_order(windows: LocalStore) -> None:
    hook = windows.hooks[0]
    rows: dict[int, list[bytes]] = {window: [] for window in range(windows.layout.n_windows)}
    for shard in windows.shards("train"):
        rows[int(windows.commit.window[shard])] += [row.tobytes() for row in windows.rows(hook, shard)]
    n_batches = windows.n_rows("train") // 64
    with ShuffledStream(windows, hook, batch_size=64, mixed_windows=2, pool=3, available=n_batches) as stream:
        visited = [row.numpy().tobytes() for batch in stream for row in batch[:, 0]]
    assert len(visited) == n_batches * 64
    assert set(visited) <= {row for of_window in rows.values() for row in of_window}
    assert len(set(visited)) == len(visited)
    place = {row: i for i, row in enumerate(visited)}
    means = [np.mean([place[row] for row in of_window if row in place]) for of_window in rows.values() if of_window]
    assert means == sorted(means)


def test_inputs_are_normalised_by_the_first_windows_alone(
    windows: LocalStore, command: Command, tmp_path: Path
) -> None:
    options = [*FOLLOW, "--input-scale", "mean-norm", "--input-mean", "store"]
    done = command("train", "--store", windows.path, "--variant", "topk", "--k", "4", *options, "--out", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    hook = windows.hooks[0]
    first = [shard for shard in windows.shards("train") if windows.commit.window[shard] < 2]
    x = np.concatenate([windows.rows(hook, shard) for shard in first]).astype(np.float64)
    sae = load_sae(next(p.parent for p in (tmp_path / "a").glob("*/run.json")), layer=0)
    np.testing.assert_allclose(sae.get_buffer("input_mean").numpy(), x.mean(axis=0), rtol=1e-5)
    centred = np.linalg.norm(x - x.mean(axis=0), axis=1).mean()
    np.testing.assert_allclose(float(sae.input_scale), centred, rtol=1e-5)


def test_experiment_records_the_identity_and_analyses_accept_it(
    windows: LocalStore, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    done = command("train", "--store", windows.path, "--variant", "baseline", *FOLLOW, "--out", out)
    assert done.returncode == 0, done.stderr
    settings = json.loads((out / "experiment.json").read_text())["settings"]
    assert (settings["store"], settings["mixed_windows"]) == (windows.identity, 2)
    check_store(find_runs([out]), windows)
    other = command(
        "train", "--store", windows.path, "--variant", "baseline", *FOLLOW, "--mix-windows", "3", "--out", out
    )
    assert other.returncode == 2
    assert "mixed_windows (the experiment has 2, the command 3)" in other.stderr


def test_training_leaves_the_rows_that_thresholds_and_restarts_need(
    windows: LocalStore, command: Command, tmp_path: Path
) -> None:
    base = ["train", "--store", windows.path, "--variant", "batchtopk", "--k", "4", *FOLLOW, "--out", tmp_path / "a"]
    refused = command(*base, "--activations", "6k")
    assert refused.returncode == 2
    assert "6,080 training rows, of which 3,072 are read after the last step; give at most 3,008" in refused.stderr
    done = command(*base, "--activations", "3008")
    assert done.returncode == 0, done.stderr


def test_training_waits_for_the_store_of_a_harvest_that_tokenises_its_text(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    store, stop = tmp_path / "demo.zarr", threading.Event()

    def create() -> None:
        store.mkdir()
        (store / "zarr.json").touch()

    with locked(worker_lock(store, 0), "the harvest"):
        timer = threading.Timer(0.2, create)
        timer.start()
        wait_for_store(store, stop, quiet=False)
        assert (store / "zarr.json").exists()
        (store / "zarr.json").unlink()
        stop.set()
        with pytest.raises(Stopped):
            wait_for_store(store, stop, quiet=True)
    assert capsys.readouterr().err == (f"the training waits for the harvest to tokenise its text and create {store}\n")
    done = command("train", "--store", store, "--variant", "topk", "--k", "4", *FOLLOW, "--out", tmp_path / "a")
    assert done.returncode == 2  # no harvest runs
    assert "there is no store at" in done.stderr
