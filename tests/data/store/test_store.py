"""The store as it lies on disk: what our reader, zarr-python and tensorstore find in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import torch
import zarr

from data import Store, StoreError, open_store
from data.store import stats
from data.store.arrays import group_json
from data.store.encodings import EncodedRows
from data.store.layout import Split
from data.store.sealed import DIGEST, sealed
from data.store.verify import verify
from tests.helpers.fixture_types import MakeStore

FORMATS = [
    ("float32", "none"), ("float16", "none"), ("bfloat16", "none"), ("int8", "none"), ("int4", "none"),
    ("float16", "zstd"), ("float16", "blosc"), ("bfloat16", "blosc"), ("int8", "zstd"),
]  # fmt: skip
ERROR = {"float32": 0, "float16": 2.0**-11, "bfloat16": 2.0**-8, "int8": 0.02, "int4": 0.3}


def read_zarr(store: Store, name: str) -> np.ndarray:
    return np.asarray(zarr.open_array(store.path / name, mode="r")[...])


def read_tensorstore(store: Store, name: str) -> np.ndarray:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(store.path / name)}}
    return np.asarray(tensorstore.open(spec, read=True).result().read().result())


def decoded(store: Store, hook: str, read: Callable[[Store, str], np.ndarray]) -> np.ndarray:
    """Rows [n_rows, d] as FORMAT.md says another reader gets them."""
    stored = read(store, hook)
    if store.dtype in ("int8", "int4"):
        scales = (read(store, f"{hook}.row_scale"),), (read(store, f"{hook}.channel_scale"),)
        return store.encoding.decode(EncodedRows(stored, *scales))
    if store.dtype == "bfloat16":
        return torch.from_numpy(stored.copy()).view(torch.bfloat16).float().numpy()
    return stored


def check_rows(store: Store, stored: np.ndarray, expected: np.ndarray) -> None:
    """Each stored row is its source row within the type's rounding; all others are NaN."""
    per_shard = store.layout.rows_per_shard
    seen = np.zeros(len(stored), dtype=bool)
    for shard in store.shards("heldout") + store.shards("train"):
        context, position = store.origin(shard)
        rows = context.astype(int) * store.layout.rows_per_context + position - store.schema.skip_positions
        in_shard = slice(shard * per_shard, shard * per_shard + len(rows))
        error = np.linalg.norm(stored[in_shard] - expected[rows], axis=1) / np.linalg.norm(expected[rows], axis=1)
        assert error.max() <= ERROR[store.dtype]
        seen[in_shard] = True
    assert seen.sum() == store.n_rows("train") + store.n_rows("heldout")
    assert np.isnan(stored[~seen]).all()


def mapped_file(address: int) -> str | None:
    """Return the file that is mapped into this process's memory at an address."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, *_, name = line.split(maxsplit=5)
        low, high = (int(end, 16) for end in span.split("-"))
        if low <= address < high:
            return name
    return None


@pytest.mark.parametrize(("dtype", "compression"), FORMATS)
def test_zarr_tensorstore_and_our_reader_give_each_row_once_within_rounding(
    make_store: MakeStore, dtype: str, compression: str
) -> None:
    store, values, _ = make_store(dtype=dtype, compression=compression, skip=1)
    assert store.n_rows("heldout") == 10 * 31
    assert store.n_rows("train") == 50 * 31
    for hook, expected in values.items():
        for read in (read_zarr, read_tensorstore):
            check_rows(store, decoded(store, hook, read), expected)
        for shard in store.shards("train"):
            rows = decoded(store, hook, read_zarr)[shard * 128 : shard * 128 + store.shard_rows(shard)]
            assert np.array_equal(store.rows(hook, shard), rows)
            assert np.array_equal(store.tensor(hook, shard).float().numpy(), rows)


def test_the_group_opens_in_zarr_with_every_array(make_store: MakeStore) -> None:
    store, _, tokens = make_store()
    group: Any = zarr.open_group(store.path, mode="r")
    for name, array in group.members(max_depth=None):
        if isinstance(array, zarr.Array):
            assert np.asarray(array[...]).shape == array.shape, name
    assert np.array_equal(group["tokens"][...], tokens)
    assert group.attrs["provenance"]["model"]["name"] == "made-up"


def test_origin_gives_each_rows_context_and_position_once(make_store: MakeStore) -> None:
    store, _, _ = make_store(skip=2)
    seen = set()
    contexts_of: dict[Split, range] = {"heldout": range(10), "train": range(10, 60)}
    for split, contexts in contexts_of.items():
        for shard in store.shards(split):
            context, position = store.origin(shard)
            assert set(context.tolist()) <= set(contexts)
            seen |= set(zip(context.tolist(), position.tolist(), strict=True))
    assert seen == {(c, p) for c in range(60) for p in range(2, 32)}


def test_rows_and_tensors_are_memory_mapped(make_store: MakeStore) -> None:
    store, _, _ = make_store()
    file = str(store.path / "blocks.0.hook_mlp_out" / "c.3.0")
    rows, tensor = store.rows("blocks.0.hook_mlp_out", 3), store.tensor("blocks.0.hook_mlp_out", 3)
    assert tensor.dtype == torch.float16
    assert mapped_file(rows.__array_interface__["data"][0]) == file
    assert mapped_file(tensor.data_ptr()) == file


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "int4"])
def test_statistics_equal_those_of_the_stored_values_in_float64(make_store: MakeStore, dtype: str) -> None:
    store, _, _ = make_store(dtype=dtype)
    for hook in store.hooks:
        for split in ("train", "heldout"):
            shards = store.shards(split)
            x = np.concatenate([store.rows(hook, s) for s in shards]).astype(np.float64)
            first = np.concatenate([store.origin(s)[1] for s in shards]) == 0
            statistics = store.statistics(hook, split)
            for subset, part in ((stats.Subset.ALL, x), (stats.Subset.WITHOUT_FIRST, x[~first])):
                norms = np.linalg.norm(part, axis=1)
                assert statistics.count(subset) == len(part)
                assert statistics.mean_norm(subset) == pytest.approx(norms.mean(), rel=1e-9)
                assert statistics.norm_variance(subset) == pytest.approx(norms.var(), rel=1e-6)
                assert statistics.mean(subset) == pytest.approx(part.mean(0), abs=1e-9)
                assert statistics.largest(subset) == pytest.approx(np.abs(part).max())


def test_tokens_and_documents_are_read_by_context(make_store: MakeStore) -> None:
    store, _, tokens = make_store()
    pick = np.array([59, 0, 17])
    assert np.array_equal(store.tokens(pick), tokens[pick])
    assert np.array_equal(store.documents(pick)[:, 0], pick // 2)


def test_unfinished_store_shows_only_whole_windows(make_store: MakeStore) -> None:
    store, _, _ = make_store(windows=2)
    assert not store.complete
    assert store.shards("train") + store.shards("heldout") != []
    assert max(store.shards("train")) == 7
    assert all(problem is None for problem in verify(store.path))
    stored = read_zarr(store, "blocks.0.hook_mlp_out")
    assert np.isnan(stored[8 * 128 :]).all()
    with pytest.raises(StoreError, match="not committed"):
        store.rows("blocks.0.hook_mlp_out", 9)


def test_repr_says_what_a_store_holds(make_store: MakeStore) -> None:
    store = make_store(dtype="int8")[0]
    assert repr(store) == f"<Store {store.path}: 1,920 rows in int8, 2 hooks of made-up>"
    assert repr(make_store(name="part.zarr", windows=1)[0]).endswith("float16, 2 hooks of made-up, unfinished>")
    one_hook = make_store(name="narrow.zarr", widths={"blocks.0.hook_mlp_out": 8})[0]
    assert repr(one_hook).endswith("1 hook of made-up>")


def test_stores_of_equal_inputs_are_equal_byte_for_byte(make_store: MakeStore) -> None:
    one, _, _ = make_store(name="one.zarr")
    two, _, _ = make_store(name="two.zarr", fresh=True)
    files = {p.relative_to(one.path): p.read_bytes() for p in one.path.rglob("*") if p.is_file()}
    assert files == {p.relative_to(two.path): p.read_bytes() for p in two.path.rglob("*") if p.is_file()}
    assert one.fingerprint == two.fingerprint
    other, _, _ = make_store(name="three.zarr", seed=1)
    assert other.fingerprint != one.fingerprint


def test_a_finished_commit_table_is_one_file(make_store: MakeStore) -> None:
    store, _, _ = make_store()
    assert sorted(p.name for p in (store.path / "commit").iterdir()) == ["c.0.0", "zarr.json"]
    assert not store.path.with_name(store.path.name + ".partial").exists()


@pytest.mark.parametrize("name", ["blocks.1.hook_mlp_out/c.3.0", "context/c.0", "position/c.2", "tokens/c.0.0",
                                  "commit/c.0.0", "stats/blocks.0.hook_mlp_out/moments/c.0.0.0.0"])  # fmt: skip
def test_verify_names_a_file_with_one_flipped_bit(make_store: MakeStore, name: str) -> None:
    store, _, _ = make_store()
    path = store.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (problem,) = (problem for problem in verify(store.path) if problem)
    assert name in f"{problem.file} {problem.what}"


def test_verify_names_swapped_missing_and_short_shards(make_store: MakeStore) -> None:
    store, _, _ = make_store()
    folder = store.path / "blocks.0.hook_mlp_out"
    (folder / "c.5.0").write_bytes((folder / "c.6.0").read_bytes())
    (folder / "c.7.0").unlink()
    (folder / "c.8.0").write_bytes((folder / "c.8.0").read_bytes()[:-100])
    problems = {problem.file.split("/")[1] for problem in verify(store.path) if problem}
    assert problems == {"c.5.0", "c.7.0", "c.8.0"}


def test_changed_provenance_breaks_the_fingerprint(make_store: MakeStore) -> None:
    store, _, _ = make_store()
    metadata = json.loads((store.path / "zarr.json").read_text())
    attributes = {name: value for name, value in metadata["attributes"].items() if name != DIGEST}
    attributes["provenance"]["model"]["name"] = "another"
    (store.path / "zarr.json").write_text(json.dumps(group_json(sealed(attributes))))
    assert [p.file for p in verify(store.path) if p] == ["commit"]
    with pytest.raises(StoreError, match="does not fit the fingerprint"):
        open_store(store.path)


def test_open_store_refuses_a_folder_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        open_store(tmp_path / "none")
    zarr.open_group(tmp_path / "other.zarr", mode="w")
    with pytest.raises(StoreError, match="not an activation store"):
        open_store(tmp_path / "other.zarr")


def test_unknown_hook_error_lists_the_hooks_of_the_store(make_store: MakeStore) -> None:
    store, _, _ = make_store()
    with pytest.raises(StoreError, match=r"no hook 'blocks.7.hook_mlp_out'; it has blocks.0"):
        store.rows("blocks.7.hook_mlp_out", 0)


def test_importing_data_imports_neither_zarr_nor_language_model_libraries() -> None:
    heavy = ("transformer_lens", "transformers", "datasets", "zarr")
    code = f"import sys, data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_positions_beyond_16_bits_are_kept(make_store: MakeStore) -> None:
    store, _, _ = make_store(n_contexts=2, n_heldout=1, context_size=40_000, skip=39_900)
    for split in ("heldout", "train"):
        _, position = store.origin(store.shards(split)[0])
        assert sorted(position.tolist()) == list(range(39_900, 40_000))
