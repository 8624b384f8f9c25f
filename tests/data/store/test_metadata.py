"""A store's JSON: what is changed in it, or never was a store's, is refused with the file's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from data import Store, StoreError, open_store
from data.store.arrays import group_json
from data.store.chunks import write_chunk
from data.store.group_metadata import read_group_metadata
from data.store.schema import stats_name
from data.store.sealed import DIGEST, sealed
from data.store.verify import verify
from tests.helpers.fixture_types import MakeStore

UNSAFE_NAMES = [
    "",
    ".",
    "..",
    "../outside",
    "/etc",
    "a/b",
    "a\\b",
    "a\0b",
    "stats",
    "tokens",
    "zarr.json",
    "é",
    "a" * 201,
]


def rewrite(store: Path, change: dict[str, Any], *, schema: dict[str, Any] | None = None) -> None:
    """Change attributes of a store, or members of its schema, with a right digest."""
    attributes = json.loads((store / "zarr.json").read_text())["attributes"]
    attributes = {name: value for name, value in {**attributes, **change}.items() if name != DIGEST}
    attributes["schema"] |= schema or {}
    (store / "zarr.json").write_text(json.dumps(group_json(sealed(attributes))))


@pytest.mark.parametrize("windows", [None, 2])
def test_changed_byte_of_group_metadata_is_refused_with_the_store_name(
    make_store: MakeStore, windows: int | None
) -> None:
    store, _, _ = make_store(windows=windows)
    path = store.path / "zarr.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(bytes([*whole[:place], whole[place] ^ 1 << place % 8, *whole[place + 1 :]]))
        with pytest.raises(StoreError, match=str(store.path)):
            open_store(store.path)


@pytest.mark.parametrize("windows", [None, 2])
def test_changed_byte_of_array_metadata_is_refused_with_the_file_name(
    make_store: MakeStore, windows: int | None
) -> None:
    store, _, _ = make_store(dtype="int8", windows=windows)
    root = read_group_metadata(store.path)
    for number, name in enumerate(store.schema.arrays):
        path = store.path / name / "zarr.json"
        whole = path.read_bytes()
        for place in range(number % 29, len(whole), 29):
            path.write_bytes(bytes([*whole[:place], whole[place] ^ 1 << place % 8, *whole[place + 1 :]]))
            with pytest.raises(StoreError, match=str(path)):
                Store(store.path, root).array(name)
        path.write_bytes(whole)
    assert [problem for problem in verify(store.path) if problem] == []


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_hook_names_that_leave_the_folder_or_clash_with_arrays_are_refused(make_store: MakeStore, name: str) -> None:
    store, _, _ = make_store()
    rewrite(store.path, {}, schema={"widths": [[name, 8], ["blocks.1.hook_mlp_out", 12]]})
    with pytest.raises(StoreError, match="schema has"):
        open_store(store.path)


@pytest.mark.parametrize("layout", [{"n_contexts": 10**12}, {"rows_per_shard": 1}, {"shards_per_window": 10**15}])
@pytest.mark.parametrize("windows", [None, 2])
def test_schema_that_does_not_fit_the_files_is_refused_without_allocating(
    make_store: MakeStore, layout: dict[str, int], windows: int | None
) -> None:
    store, _, _ = make_store(windows=windows)
    rewrite(store.path, {}, schema={"layout": {**store.schema.to_json()["layout"], **layout}})
    with pytest.raises(StoreError, match=r"zarr\.json|commit"):
        open_store(store.path).commit  # noqa: B018


@pytest.mark.parametrize("text", ["", "[" * 10**6, "1" * 10**5, "null", '{"attributes": 1}', '"\\ud800"', "\xff"])
def test_malformed_metadata_json_is_refused(make_store: MakeStore, text: str) -> None:
    store, _, _ = make_store()
    for file in ("zarr.json", "tokens/zarr.json"):
        whole = (store.path / file).read_bytes()
        (store.path / file).write_text(text, encoding="latin-1")
        with pytest.raises(StoreError, match=r"made\.zarr"):
            open_store(store.path).tokens()
        (store.path / file).write_bytes(whole)


def test_version_1_store_is_refused_with_advice_to_harvest_again(make_store: MakeStore) -> None:
    store, _, _ = make_store()
    rewrite(store.path, {"version": 1})
    with pytest.raises(StoreError, match=r"version 1 of the store's format.*harvest it again"):
        open_store(store.path)


def test_xarray_opens_the_whole_tree_and_every_axis_has_a_name(make_store: MakeStore) -> None:
    store, _, tokens = make_store(dtype="int8")
    tree: Any = xarray.open_datatree(store.path, engine="zarr", consolidated=False)
    assert tree["blocks.1.hook_mlp_out"].dims == ("row", "channel_12")
    assert tree["stats/blocks.1.hook_mlp_out/moments"].dims == ("shard", "subset", "moment", "channel_12")
    assert np.array_equal(tree["tokens"].values, tokens)
    for name, spec in store.schema.arrays.items():
        assert len(spec.dimensions) == len(spec.shape), name


def test_verify_names_each_damaged_file(make_store: MakeStore) -> None:
    store, _, _ = make_store()
    damaged = ["zarr.json", "position/zarr.json", "stats/zarr.json", "stats/blocks.0.hook_mlp_out/norms/c.0.0.0"]
    for file in (*damaged[:2], damaged[3]):
        data = bytearray((store.path / file).read_bytes())
        at = data.index(b'"sha256": "') + 12 if file == "zarr.json" else len(data) // 3
        data[at] ^= 1
        (store.path / file).write_bytes(data)
    (store.path / "stats" / "zarr.json").unlink()
    problems = [problem.file for problem in verify(store.path) if problem]
    assert sorted(problems) == sorted(damaged)


def test_verify_names_every_shard_whose_statistics_were_changed(make_store: MakeStore) -> None:
    store, _, _ = make_store()
    hook = store.hooks[0]
    array = store.array(stats_name(hook, "norms"))
    values = np.array(array.read())
    changed = [1, 3]
    values[changed] += 1
    write_chunk(array.chunk_path(0), values)  # with a checksum of its own that fits
    (problem,) = [problem for problem in verify(store.path) if problem is not None]
    assert problem.file == stats_name(hook)
    assert "the statistics of shard 1, 3 have another checksum" in problem.what
