"""Activations in files become a store of the same numbers, in which every context keeps its own tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from numpy.typing import NDArray
from safetensors.torch import save_file

from data import Store
from data.store.verify import verify
from tests.helpers.arrays import by_context

Make = Callable[..., Store]
Float = NDArray[np.float32]
N, LENGTH, D = 40, 16, 8


@pytest.fixture(scope="module")
def x() -> Float:
    """Return activations [contexts, tokens, d] that float16 and bfloat16 hold exactly."""
    return np.random.default_rng(0).integers(-100, 100, (N, LENGTH, D)).astype(np.float32)


def save_npy(x: Float, folder: Path) -> Path:
    np.save(folder / "layer.npy", x)
    return folder / "layer.npy"


def save_fortran(x: Float, folder: Path) -> Path:
    np.save(folder / "layer.npy", np.asfortranarray(x.reshape(-1, D)))
    return folder / "layer.npy"


def save_big_endian(x: Float, folder: Path) -> Path:
    np.save(folder / "layer.npy", x.astype(">f2"))
    return folder / "layer.npy"


def save_bfloat16_npy(x: Float, folder: Path) -> Path:
    np.save(folder / "layer.npy", (x.view(np.uint32) >> 16).astype(np.uint16).view("V2"))
    return folder / "layer.npy"


def save_safetensors(x: Float, folder: Path) -> Path:
    save_file({"layer": torch.from_numpy(x).bfloat16()}, folder / "any.safetensors")
    return folder / "any.safetensors"


def save_zarr(x: Float, folder: Path) -> Path:
    array = zarr.create_array(folder / "layer.zarr", shape=x.shape, chunks=(7, LENGTH, D), dtype="f2")
    array[:] = x.astype(np.float16)
    return folder / "layer.zarr"


def save_sharded_zarr_2(x: Float, folder: Path) -> Path:
    array = zarr.create_array(folder / "layer.zarr", shape=x.shape, chunks=(7, LENGTH, D), dtype="f4", zarr_format=2)
    array[:] = x
    return folder / "layer.zarr"


def save_shards(x: Float, folder: Path) -> Path:
    (folder / "layer").mkdir()
    for number, part in enumerate(np.split(x.reshape(-1, D), [5, 100, 301])):
        np.save(folder / "layer" / f"shard_{number}.npy", part)
    return folder / "layer"


def save_safetensors_shards(x: Float, folder: Path) -> Path:
    (folder / "parts").mkdir()
    for number, part in enumerate(np.split(x, [1, 30])):
        name = f"model-{number + 1:05d}-of-00003.safetensors".removeprefix("model-")
        save_file({"layer": torch.from_numpy(part.copy())}, folder / "parts" / name)
    return folder / "parts"


SAVE = [save_npy, save_fortran, save_big_endian, save_bfloat16_npy, save_safetensors, save_zarr, save_sharded_zarr_2,
        save_shards, save_safetensors_shards]  # fmt: skip


@pytest.mark.parametrize("save", SAVE)
def test_each_format_becomes_a_store_of_the_same_rows(
    save: Callable[[Float, Path], Path], x: Float, make: Make, tmp_path: Path
) -> None:
    store = make(save(x, tmp_path), context_size=LENGTH, held_out=6)
    order = store.documents()[:, 0]
    assert sorted(order) == list(range(N))
    assert (by_context(store, "layer") == x[order]).all()
    assert store.layout.n_heldout_contexts == 6
    assert [problem for problem in verify(store.path) if problem] == []
    rows = x[order[6:]].reshape(-1, D).astype(np.float64)
    statistics = store.statistics("layer")
    assert statistics.mean_norm() == pytest.approx(np.linalg.norm(rows, axis=1).mean())
    assert statistics.largest() == np.abs(rows).max()


def test_hooks_are_a_file_each_or_tensors_of_one_and_tokens_follow_their_contexts(
    x: Float, make: Make, tmp_path: Path
) -> None:
    tokens = np.random.default_rng(1).integers(0, 50_000, (N, LENGTH)).astype(np.uint16)
    hooks = {f"blocks.{layer}.hook_mlp_out": x + layer for layer in (0, 2, 10)}
    folder = tmp_path / "hooks"
    folder.mkdir()
    for name, values in hooks.items():
        np.save(folder / f"{name}.npy", values)
    np.save(tmp_path / "tokens.npy", tokens)
    by_file = make(folder, "a.zarr", token_ids=tmp_path / "tokens.npy", held_out=6, model="gpt2", dataset="texts")
    tensors = {name: torch.from_numpy(values) for name, values in hooks.items()}
    save_file({**tensors, "token_ids": torch.from_numpy(tokens.astype(np.int64))}, tmp_path / "all.safetensors")
    by_tensor = make(tmp_path / "all.safetensors", "b.zarr", held_out=6)
    for store in (by_file, by_tensor):
        assert store.hooks == list(hooks)
        order = store.documents()[:, 0]
        assert (store.tokens() == tokens[order]).all()
        for name, values in hooks.items():
            assert (by_context(store, name) == values[order]).all()
    assert (by_file.model_name, by_file.dataset, by_file.unknown) == ("gpt2", "texts", ["documents"])
    assert by_tensor.unknown == ["model", "documents"]


def test_skipped_positions_are_left_out_whether_the_file_has_them_or_not(x: Float, make: Make, tmp_path: Path) -> None:
    tokens = np.arange(N * LENGTH).reshape(N, LENGTH)
    np.save(tmp_path / "tokens.npy", tokens)
    np.save(tmp_path / "all.npy", x)
    np.save(tmp_path / "without.npy", x[:, 2:].reshape(-1, D))
    for name in ("all", "without"):
        store = make(tmp_path / f"{name}.npy", f"{name}.zarr", token_ids=tmp_path / "tokens.npy", skip_positions=2)
        order = store.documents()[:, 0]
        assert (store.schema.context_size, store.schema.skip_positions) == (LENGTH, 2)
        assert (by_context(store, name) == x[order, 2:]).all()
        assert (store.tokens() == tokens[order]).all()


def test_one_array_takes_the_name_of_a_hook_and_several_are_chosen(x: Float, make: Make, tmp_path: Path) -> None:
    np.save(tmp_path / "1 layer.npy", x)
    assert make(tmp_path / "1 layer.npy", "a.zarr", hook="blocks.0.hook_mlp_out").hooks == ["blocks.0.hook_mlp_out"]
    save_file({name: torch.from_numpy(x.copy()) for name in "abc"}, tmp_path / "all.safetensors")
    assert make(tmp_path / "all.safetensors", "b.zarr", hook=["c", "a"]).hooks == ["c", "a"]


def test_rows_without_contexts_are_held_out_in_groups_of_neighbours(make: Make, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.arange(8000, dtype=np.float32).reshape(1000, 8))
    store = make(tmp_path / "rows.npy", dtype="float32")
    assert store.unknown == ["model", "token_ids", "documents", "positions"]
    number = by_context(store, "rows")[:, 0, 0] / 8
    assert (store.documents()[:, 0] == number // 64).all()
    heldout = store.layout.n_heldout_contexts
    assert 100 <= heldout <= 200
    assert not set(store.documents()[:heldout, 0]) & set(store.documents()[heldout:, 0])


def test_documents_are_never_in_both_splits(x: Float, make: Make, tmp_path: Path) -> None:
    np.save(tmp_path / "layer.npy", x)
    np.save(tmp_path / "documents.npy", np.arange(N) // 4)
    store = make(tmp_path / "layer.npy", documents=tmp_path / "documents.npy", held_out=8)
    heldout = set(store.documents()[:8, 0])
    assert len(heldout) == 2
    assert not heldout & set(store.documents()[8:, 0])
    packed = np.arange(N * LENGTH).reshape(N, LENGTH) // 41  # each document reaches into the next context
    np.save(tmp_path / "packed.npy", packed)
    store = make(tmp_path / "layer.npy", "b.zarr", documents=tmp_path / "packed.npy", held_out=7)
    assert store.layout.n_heldout_contexts == 7
    assert store.layout.n_contexts == N - 3  # the contexts before them that share a document with them
    assert not set(store.documents()[:7].ravel()) & set(store.documents()[7:].ravel())


def test_codes_have_the_scales_of_the_first_contexts(x: Float, make: Make, tmp_path: Path) -> None:
    np.save(tmp_path / "layer.npy", x)
    store = make(tmp_path / "layer.npy", dtype="int8")
    order = store.documents()[:, 0]
    error = np.abs(by_context(store, "layer") - x[order]).max()
    assert 0 < error < 3
    median = np.median(np.abs(x), axis=(0, 1))
    assert np.abs(store.channel_scales()["layer"] - median).max() <= 1


def test_tokens_limits_the_contexts(x: Float, make: Make, tmp_path: Path) -> None:
    np.save(tmp_path / "layer.npy", x)
    assert make(tmp_path / "layer.npy", tokens=5 * LENGTH + 3).layout.n_contexts == 5


def test_arrays_are_read_in_parts(x: Float, make: Make, tmp_path: Path, small_windows: Any) -> None:
    import harvest.arrays.formats

    read: list[int] = []
    whole = harvest.arrays.formats.NumpyArray.read

    def watched(self: Any, first: int, last: int) -> torch.Tensor:
        read.append(last - first)
        return whole(self, first, last)

    np.save(tmp_path / "layer.npy", x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harvest.arrays.formats.NumpyArray, "read", watched)
        store = make(tmp_path / "layer.npy")
    assert store.layout.n_windows > 1
    assert max(read) <= 3
