"""An interrupted measurement goes on where it was, and comes to the same numbers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyze.measure import cache, row_pass
from analyze.measure.cache import MeasurementCache
from analyze.measure.evaluate import measure_heldout
from analyze.measure.heldout import Heldout
from analyze.measure.patching import patch as patching
from analyze.measure.patching.model import PatchableModel, load_for_store
from analyze.measure.patching.patch import patch
from analyze.runs.trained_run import all_hooks, find_runs
from data import open_store


class Interrupted(Exception):
    pass


class Counting:
    """A model that counts its passes, and is interrupted in a clean one."""

    def __init__(self, model: PatchableModel, stop_at: int = 0) -> None:
        self.model, self.stop_at, self.passes, self.patches = model, stop_at, 0, 0

    def clean(self, tokens: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        self.passes += 1
        if self.passes == self.stop_at:
            raise Interrupted
        return self.model.clean(tokens)

    def patched(self, name: str, value: torch.Tensor) -> torch.Tensor:
        self.patches += 1
        return self.model.patched(name, value)


def test_interrupted_patching_continues_after_the_cached_contexts(
    demo_runs: tuple[Path, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folders = demo_runs
    store, runs = open_store(path), [find_runs(folders)[i] for i in (0, 2)]
    model = load_for_store(store, all_hooks(runs), model="demo", device=torch.device("cpu"))
    heldout, cache = Heldout(store, 9), MeasurementCache(tmp_path / "kept")
    whole = patch(model, heldout, runs, contexts_at_once=2)
    monkeypatch.setattr(patching, "SAVE_SECONDS", 0.0)
    with pytest.raises(Interrupted):
        patch(Counting(model, stop_at=4), heldout, runs, contexts_at_once=2, cache=cache)
    again = Counting(model)
    continued = patch(again, heldout, runs, contexts_at_once=2, cache=cache)
    assert again.passes == 2  # of five batches three were kept
    assert list(continued) == list(whole)
    for key, estimate in whole.items():
        assert continued[key].value == estimate.value
        assert np.array_equal(continued[key].replicates, estimate.replicates)
    other = Counting(model)
    patch(other, heldout, runs, contexts_at_once=2, cache=cache, seed=1)
    assert other.passes == 5  # another seed is another measurement


def test_run_added_to_a_report_is_measured_alone_with_the_numbers_of_a_whole_measurement(
    demo_runs: tuple[Path, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folders = demo_runs
    before, added = (find_runs(folders)[i] for i in (0, 2))
    heldout, cache = Heldout(open_store(path), 4), MeasurementCache(tmp_path)
    hooks = all_hooks([before, added])
    model = load_for_store(heldout.store, hooks, model="demo", device=torch.device("cpu"))
    whole, fires = measure_heldout(heldout, [before, added])
    patched = patch(model, heldout, [before, added], contexts_at_once=2)
    measure_heldout(heldout, [before], cache=cache)
    patch(model, heldout, [before], contexts_at_once=2, cache=cache)

    summed: list[Any] = []
    empty = row_pass.SaeSums.empty

    def counted(*arguments: Any) -> row_pass.SaeSums:
        summed.append(empty(*arguments))
        return summed[-1]

    monkeypatch.setattr(row_pass.SaeSums, "empty", counted)
    again, fires_again = measure_heldout(heldout, [before, added], cache=cache)
    counting = Counting(model)
    patched_again = patch(counting, heldout, [before, added], contexts_at_once=2, cache=cache)
    n_passes = len(added.hooks) * len(added.noises)
    assert (len(summed), counting.patches) == (n_passes, 2 * n_passes)
    for first, second in ((whole, again), (patched, patched_again)):
        assert list(first) == list(second)
        assert all(np.array_equal(second[key].replicates, first[key].replicates, equal_nan=True) for key in first)
    assert all(torch.equal(a.all.count, b.all.count) for a, b in zip(fires, fires_again, strict=True))


def test_cached_measures_are_reused_until_the_weights_change(
    demo_runs: tuple[Path, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folders = demo_runs
    run = shutil.copytree(folders[1] / "nsae_l1=1e-05_seed=0", tmp_path / "run")
    cache, heldout = MeasurementCache(tmp_path / "kept"), Heldout(open_store(path), 6)
    first, fires = measure_heldout(heldout, find_runs([run]), cache=cache)
    with monkeypatch.context() as no_rows:
        no_rows.setattr(Heldout, "rows", lambda *args, **options: pytest.fail("rows are read again"))
        second, again = measure_heldout(heldout, find_runs([run]), cache=cache)
    assert all(second[key].value == estimate.value for key, estimate in first.items())
    assert all(
        torch.equal(a.all.count, b.all.count) and a.all.silent == b.all.silent
        for a, b in zip(fires, again, strict=True)
    )
    weights = run / "final" / "sae.safetensors"
    os.utime(weights, (1, 1))
    asked: list[str] = []
    rows = Heldout.rows

    def counted(self: Heldout, hook: str, *args: Any, **options: Any) -> Any:
        asked.append(hook)
        return rows(self, hook, *args, **options)

    monkeypatch.setattr(Heldout, "rows", counted)
    measure_heldout(heldout, find_runs([run]), cache=cache)
    assert asked == list(find_runs([run])[0].hooks)


def test_damaged_cache_file_is_ignored(tmp_path: Path) -> None:
    cache = MeasurementCache(tmp_path)
    cache.save(["a", 1], {"x": np.arange(3)})
    loaded = cache.load(["a", 1])
    assert loaded is not None
    assert loaded["x"].tolist() == [0, 1, 2]
    assert cache.load(["a", 2]) is None
    (piece,) = tmp_path.iterdir()
    piece.write_bytes(piece.read_bytes()[:40])
    assert cache.load(["a", 1]) is None
    cache.clear()
    assert not tmp_path.exists()
    assert MeasurementCache().load("anything") is None


def test_cache_file_of_another_format_or_library_version_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = MeasurementCache(tmp_path)
    folder.save("a", {"x": np.arange(3)})
    for module, name, value in ((cache, "FORMAT", 99), (torch, "__version__", "0.0"), (np, "__version__", "0.0")):
        with monkeypatch.context() as other:
            other.setattr(module, name, value)
            assert folder.load("a") is None
    assert folder.load("a") is not None
    assert cache.device_identity("cpu") != cache.device_identity("meta")


def test_measures_cached_on_another_device_are_computed_again(
    demo_runs: tuple[Path, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folders = demo_runs
    heldout, runs, folder = Heldout(open_store(path), 2), find_runs(folders)[:1], MeasurementCache(tmp_path)
    model = load_for_store(heldout.store, all_hooks(runs), model="demo", device=torch.device("cpu"))

    def measure() -> None:
        measure_heldout(heldout, runs, cache=folder)
        patch(model, heldout, runs, cache=folder)

    measure()
    pieces = len(list(tmp_path.iterdir()))
    measure()
    assert len(list(tmp_path.iterdir())) == pieces
    for module in (row_pass, patching):
        monkeypatch.setattr(module, "device_identity", lambda device: ["cuda", "another"])
    measure()
    assert len(list(tmp_path.iterdir())) == 2 * pieces


def test_cache_refuses_arrays_of_objects(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        MeasurementCache(tmp_path).save("a", {"x": np.array([{}])})
    assert not list(tmp_path.iterdir())
