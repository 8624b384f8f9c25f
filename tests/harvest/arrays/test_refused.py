"""Files that are damaged, hostile or do not fit are refused in one sentence, and nothing is left of the store."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from safetensors.torch import save_file

from data import InputError, Store, write_store
from data.store.writing.write import ActivationSource
from harvest.arrays.find import find_arrays
from tests.helpers.fixture_types import Command
from tests.helpers.saes.hostile import damaged

Make = Callable[..., Store]
SAVED = Path(__file__).with_name("references") / "saelens"
X = np.random.default_rng(0).normal(size=(40, 16, 8)).astype(np.float32)


def with_value(value: float) -> np.ndarray:
    changed = X.copy()
    changed[30, 5, 3] = value
    return changed


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def write(folder: Path, **files: Any) -> None:
    for name, value in files.items():
        np.save(folder / f"{name}.npy", value)


def objects(folder: Path) -> None:
    np.save(folder / "x.npy", np.array([Exploit()] * 4, dtype=object), allow_pickle=True)


def pickled(folder: Path) -> None:
    (folder / "x.npy").write_bytes(pickle.dumps(Exploit()))


def truncated(folder: Path) -> None:
    write(folder, x=X)
    os.truncate(folder / "x.npy", 3000)


def truncated_safetensors(folder: Path) -> None:
    save_file({"x": torch.from_numpy(X)}, folder / "x.safetensors")
    os.truncate(folder / "x.safetensors", 3000)


def incomplete_zarr(folder: Path) -> None:
    zarr.create_array(folder / "x.zarr", shape=X.shape, chunks=(10, 16, 8), dtype="f4")[:10] = X[:10]


def pickling_zarr(folder: Path) -> None:
    zarr.create_array(folder / "x.zarr", shape=(4, 8), chunks=(4, 8), dtype="f4", zarr_format=2)[:] = 1
    about = json.loads((folder / "x.zarr" / ".zarray").read_text(encoding="utf-8"))
    about |= {"filters": [{"id": "pickle", "protocol": 5}], "compressor": None}
    (folder / "x.zarr" / ".zarray").write_text(json.dumps(about), encoding="utf-8")
    (folder / "x.zarr" / "0.0").write_bytes(pickle.dumps(Exploit()))


def an_archive(folder: Path) -> None:
    np.savez(folder / "x.npz", x=X)
    os.rename(folder / "x.npz", folder / "x.npy")


def a_store(folder: Path) -> None:
    source = ActivationSource({"layer": 8}, n_contexts=640, batches=[{"layer": X.reshape(-1, 8)}])
    write_store(folder / "x.zarr", source)


def a_gap(folder: Path) -> None:
    (folder / "x").mkdir()
    for number in (0, 1, 3):
        np.save(folder / "x" / f"{number:05d}.npy", X)


def other_widths(folder: Path) -> None:
    (folder / "x").mkdir()
    np.save(folder / "x" / "0.npy", X)
    np.save(folder / "x" / "1.npy", X[:, :, :7])


def parts_beside_arrays(folder: Path) -> None:
    (folder / "x").mkdir()
    np.save(folder / "x" / "0.npy", X)
    np.save(folder / "x" / "layer.npy", X)


def hooks_of_other_lengths(folder: Path) -> None:
    save_file({"a": torch.from_numpy(X), "b": torch.from_numpy(X[:39].copy())}, folder / "x.safetensors")


def saved(**files: Any) -> Callable[[Path], None]:
    return lambda folder: write(folder, **files)


CASES: list[tuple[Callable[[Path], None], dict[str, Any], str]] = [
    (objects, {}, "x.npy cannot be read: Array can't be memory-mapped: Python objects"),
    (pickled, {}, "x.npy cannot be read: "),
    (truncated, {}, "x.npy cannot be read: mmap length is greater than file size"),
    (truncated_safetensors, {}, "x.safetensors cannot be read: "),
    (incomplete_zarr, {}, "it lacks 3 of its 4 chunks"),
    (pickling_zarr, {}, "x.zarr cannot be read: "),
    (an_archive, {}, "it is an archive of several arrays"),
    (a_store, {}, "it is an activation store already"),
    (a_gap, {}, "lacks part 2"),
    (other_widths, {}, "parts of one array differ in axis 0 only"),
    (parts_beside_arrays, {}, "give the parts of each array a folder of their own"),
    (hooks_of_other_lengths, {}, "give the same rows of every hook"),
    (saved(x=with_value(np.nan)), {}, "there is NaN of x in context 30, position 5"),
    (saved(x=with_value(np.inf)), {}, "there is an infinite value of x in context 30, position 5"),
    (saved(x=with_value(1e5)), {}, "--dtype float16: a value of x in context 30, position 5 is beyond its largest"),
    (saved(x=with_value(np.nan)), {"dtype": "int8"}, "x has NaN or infinite values in its first contexts"),
    (saved(x=X[0, 0]), {}, "give float16, bfloat16 or float32 of the shape"),
    (saved(x=X[:0]), {}, "give float16, bfloat16 or float32 of the shape"),
    (saved(x=X.astype(np.int32)), {}, "in int32; give float16"),
    (saved(x=X.astype(complex)), {}, "its type is complex128"),
    (saved(x=X.reshape(-1, 8)), {"context_size": 12}, "are not whole contexts of 12 rows"),
    (saved(x=X), {"context_size": 12}, "the activations have 16 rows per context"),
    (saved(x=X), {"skip_positions": 16}, "leaves nothing of a context of 16"),
    (saved(x=X), {"tokens": 3}, "not one context of 16 tokens"),
    (saved(x=X), {"held_out": 30}, "at most half of the 40 contexts"),
    (saved(x=X), {"hook": ["y", "z"]}, "has no such array"),
    (saved(**{"a b": X}), {"at": "a b.npy"}, "is not a valid hook name"),
    (
        saved(x=X, t=np.zeros((39, 16), int)),
        {"token_ids": "t.npy"},
        "has 39 contexts of 16 tokens, and the activations 40",
    ),
    (saved(x=X, t=np.zeros((40, 15), int)), {"token_ids": "t.npy"}, "the activations have 16 rows per context"),
    (saved(x=X, t=np.zeros((40, 16))), {"token_ids": "t.npy"}, "give whole numbers"),
    (saved(x=X, t=np.full((40, 16), 2**31)), {"token_ids": "t.npy"}, "numbers below -1 or above 2³¹ − 1"),
    (saved(x=X, t=np.zeros(39, int)), {"documents": "t.npy"}, "a number per context"),
    (saved(x=X, t=np.full(40, -1)), {"documents": "t.npy"}, "below 0"),
    (saved(x=X, t=np.zeros(40, int)), {"documents": "t.npy"}, "all contexts share a document"),
    (saved(x=X), {"at": "nothing.npy"}, "there is no such file or folder"),
]


@pytest.mark.parametrize(("save", "options", "message"), CASES, ids=lambda v: getattr(v, "__name__", None))
def test_bad_files_are_refused_and_leave_nothing(
    save: Callable[[Path], None], options: dict[str, Any], message: str, make: Make, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    keywords = dict(options)
    at = keywords.pop("at", next((name for name in before if name.split(".")[0] == "x"), ""))
    with pytest.raises(InputError) as refused:
        make(tmp_path / at, **keywords)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_fuzzed_files_raise_no_other_error(tmp_path: Path) -> None:
    folders = {"a dataset": SAVED, ".npy": tmp_path / "npy", ".safetensors": tmp_path / "safe", ".zarr": tmp_path / "z"}
    for kind in (".npy", ".safetensors"):
        folders[kind].mkdir()
    np.save(folders[".npy"] / "x.npy", X[:2])
    save_file({"x": torch.from_numpy(X[:2].copy())}, folders[".safetensors"] / "x.safetensors")
    zarr.create_array(folders[".zarr"], shape=(4, 8), chunks=(2, 8), dtype="f4")[:] = X[0, :4]
    generator, refused = random.Random(0), 0
    for _ in range(60):
        for folder in folders.values():
            shutil.rmtree(tmp_path / "fuzzed", ignore_errors=True)
            shutil.copytree(folder, tmp_path / "fuzzed")
            file = generator.choice(sorted(path for path in (tmp_path / "fuzzed").rglob("*") if path.is_file()))
            file.write_bytes(damaged(file.read_bytes(), generator))
            try:
                for array in find_arrays(tmp_path / "fuzzed", "--activations").values():
                    array.read(0, min(array.shape[0], 10))
            except InputError:
                refused += 1
    assert refused > 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layers", "0"), "--layers: has no effect with --activations"),
        (("--batch-size", "8"), "--batch-size: has no effect with --activations"),
        (("--prefix-token", "bos"), "--prefix-token: has no effect with --activations"),
    ],
)
def test_options_of_a_model_are_refused(
    arguments: tuple[str, ...], message: str, command: Command, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", X)
    done = command("harvest", "--activations", tmp_path / "x.npy", "--out", tmp_path / "s.zarr", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "s.zarr").exists()


def test_a_harvest_needs_a_model_or_activations(command: Command) -> None:
    done = command("harvest", "--tokens", "10k")
    assert done.returncode == 2
    assert "Missing option '--model'" in done.stderr
    done = command("harvest", "--model", "demo", "--token-ids", "t.npy")
    assert done.returncode == 2
    assert "--token-ids: applies to --activations only" in done.stderr
