"""A store of arrays that is stopped or killed ends as the same store byte for byte, and is used like any other."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import InputError, Store, open_store
from data.errors import Stopped
from data.store.writing.staged_files import StagedFiles
from data.store.writing.window_writer import WindowWriter
from harvest.arrays.prepare import prepare_arrays
from harvest.options import ARRAY_TYPES
from tests.helpers.fixture_types import Command, TrainSmall
from tests.helpers.pages.feature_pages import features_of
from tests.helpers.processes.killing import Killed, kill_at

Make = Callable[..., Store]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60, 16, 8)).astype(np.float32))
    return tmp_path / "rows.npy"


def files_of(store: Path) -> dict[Path, bytes]:
    return {p.relative_to(store): p.read_bytes() for p in store.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("owner", "name", "at"),
    [
        (StagedFiles, "write", 1),
        (StagedFiles, "write", 9),
        (WindowWriter, "seal", 2),
        (WindowWriter, "_write_small", 5),
    ],
)
def test_killed_array_harvest_ends_with_the_same_bytes(
    owner: Any, name: str, at: int, rows: Path, make: Make, tmp_path: Path, small_windows: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole = make(rows, "whole.zarr", context_size=16)
    assert whole.layout.n_windows >= 3
    kill_at(monkeypatch, owner, name, at)
    with pytest.raises(Killed):
        make(rows, context_size=16)
    written, write = [], StagedFiles.write

    def counted(self: Any, *arguments: Any) -> int:
        written.append(1)
        return write(self, *arguments)

    monkeypatch.setattr(StagedFiles, "write", counted)
    make(rows, context_size=16)
    assert files_of(tmp_path / "made.zarr") == files_of(tmp_path / "whole.zarr")
    assert at == 1 or 0 < len(written) < 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.zarr", "rows.npy", "whole.zarr"]


def test_stopped_array_harvest_ends_with_the_same_bytes(
    rows: Path, make: Make, tmp_path: Path, small_windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(rows, "whole.zarr")
    stop, write, calls = threading.Event(), StagedFiles.write, []

    def stopping(self: Any, *arguments: Any) -> int:
        calls.append(1)
        if len(calls) == 10:
            stop.set()
        return write(self, *arguments)

    monkeypatch.setattr(StagedFiles, "write", stopping)
    defaults: dict[str, Any] = dict.fromkeys(ARRAY_TYPES)
    options = {**defaults, "activations": rows, "out": tmp_path / "made.zarr", "skip_positions": 0, "dtype": "float16",
               "compress": "none", "seed": 0, "overwrite": False}  # fmt: skip
    with pytest.raises(Stopped):
        prepare_arrays(options, stop=stop, quiet=True).run()
    make(rows)
    assert files_of(tmp_path / "made.zarr") == files_of(tmp_path / "whole.zarr")
    assert whole.fingerprint == open_store(tmp_path / "made.zarr").fingerprint


def test_array_harvest_with_other_settings_or_numbers_is_refused(rows: Path, make: Make, tmp_path: Path) -> None:
    first = make(rows)
    assert make(rows).fingerprint == first.fingerprint
    with pytest.raises(InputError, match=r"other settings: --seed \(the store has 0, the command 1\)"):
        make(rows, seed=1)
    values = np.load(rows)
    values[3, 2, 1] += 1
    np.save(rows, values)
    with pytest.raises(InputError, match="the activations' content"):
        make(rows)
    assert open_store(tmp_path / "made.zarr").fingerprint == first.fingerprint
    assert make(rows, overwrite=True).fingerprint != first.fingerprint


def test_store_of_arrays_is_trained_on_and_analysed_and_unknown_facts_are_named(
    rows: Path, command: Command, train_small: TrainSmall, tmp_path: Path
) -> None:
    out = tmp_path / "arrays.zarr"
    arguments = ("--activations", rows, "--hook", "blocks.0.hook_mlp_out", "--held-out", "20", "--out", out)
    done = command("harvest", *arguments, "--dry-run", "--json")
    assert (done.returncode, json.loads(done.stdout)["rows"]) == (0, 960)
    assert not out.exists()
    done = command("harvest", *arguments)
    assert done.returncode == 0, done.stderr
    assert "unknown: model, token ids, documents" in done.stdout
    store = open_store(out)
    runs = train_small(store, "--variant", "topk", "--k", "3", "--layers", "0")
    assert "0 damaged" in command("analyze", "verify", "--store", out, runs).stdout
    assert command("analyze", "measures", "--store", out, runs).returncode == 0
    done = command("analyze", "features", "--store", out, runs, "--out", tmp_path / "features", "--without-model")
    assert done.returncode == 0, done.stderr
    done = command("analyze", "patch", "--store", out, runs)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "(unknown: model, token ids, documents), so none can be run on it" in done.stderr
    assert {token for feature in features_of(tmp_path / "features") for token, *_ in feature["fires_on"]} == {"?"}
