"""A store in an object store: the same files as on a disk, put in an order that can be read at every moment."""

from __future__ import annotations

import importlib.util
import json
import threading
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from data import InputError, ShuffledStream, StoreError, open_store
from data.store.verify import verify
from data.store.writing.create import create
from data.store.writing.lifecycle import staging_path
from data.store.writing.window_writer import WindowWriter
from data.system.location import Location, exists, locate
from tests.helpers.fixture_types import Command, MakeStore


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """An empty bucket in memory; local staging goes to a folder of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return locate(f"memory://{uuid.uuid4().hex}")


def files_of(store: Location) -> dict[str, bytes]:
    """Every file of a store, by its name in it."""
    if isinstance(store, Path):
        return {p.relative_to(store).as_posix(): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    names = store.fs.find(store.path)
    return {name.removeprefix(store.path).lstrip("/"): store.fs.cat_file(name) for name in names}


def local_files() -> list[Path]:
    return [path for path in Path().rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("dtype", "compression"), [("float16", "none"), ("bfloat16", "zstd"), ("int8", "none"), ("int8", "blosc")]
)
def test_object_store_has_the_files_of_a_local_store_and_no_local_leftovers(
    make_store: MakeStore, bucket: Location, dtype: str, compression: str
) -> None:
    local, _, _ = make_store(dtype=dtype, compression=compression)
    store, _, _ = make_store(dtype=dtype, compression=compression, root=bucket)
    assert files_of(store.path) == files_of(local.path)
    assert store.complete
    assert all(problem is None for problem in verify(store.path))
    assert local_files() == []


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_object_store_streams_the_batches_of_a_local_store(make_store: MakeStore, bucket: Location, dtype: str) -> None:
    local, _, _ = make_store(dtype=dtype)
    store, _, _ = make_store(dtype=dtype, root=bucket)
    for hook in store.hooks:
        with (
            ShuffledStream(local, [hook], batch_size=64, pool=3, seed=4) as one,
            ShuffledStream(open_store(str(store.path)), [hook], batch_size=64, pool=3, seed=4) as other,
        ):
            for _ in range(40):
                assert torch.equal(next(one), next(other))


def test_object_store_stream_holds_at_most_two_groups_of_shards(make_store: MakeStore, bucket: Location) -> None:
    store, values, _ = make_store(root=bucket)
    assert not store.mapped
    with ShuffledStream(store, store.hooks[:1], batch_size=64, pool=3) as stream:
        for _ in range(20):
            next(stream)
            assert len(stream._shards.maps) <= 2 * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as torch's of memory that cannot be written to
        rows = store.tensor(store.hooks[0], store.shards("train")[0])
    context, position = store.origin(store.shards("train")[0])
    expected = values[store.hooks[0]][context.astype(int) * 32 + position]
    assert np.array_equal(rows.numpy(), expected.astype(np.float16))


def test_object_store_reads_as_whole_shards_after_every_put_and_removal(
    make_store: MakeStore, bucket: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bucket / "made.zarr"
    looking = threading.Lock()  # several are put at a time
    shards_seen = []

    def look() -> None:
        if not exists(path / "zarr.json"):
            return
        store = open_store(path)
        assert [problem for problem in verify(store.path) if problem] == []
        assert store.tokens().shape == (60, 32)
        shards = store.shards("heldout") + store.shards("train")
        assert sum(int(store.statistics(store.hooks[0], s).count()) for s in ("heldout", "train")) == sum(
            store.shard_rows(shard) for shard in shards
        )
        shards_seen.append(len(shards))

    def watched(method: Callable[..., None]) -> Callable[..., None]:
        def wrapper(self: MemoryFileSystem, *arguments: Any, **more: Any) -> None:
            method(self, *arguments, **more)
            with looking:
                look()

        return wrapper

    for name in ("pipe_file", "rm"):
        monkeypatch.setattr(MemoryFileSystem, name, watched(getattr(MemoryFileSystem, name)))
    store, _, _ = make_store(root=bucket)
    assert shards_seen == sorted(shards_seen)
    assert {0, 4, 8, 12, store.layout.n_shards} <= set(shards_seen)


@pytest.mark.parametrize("name", ["blocks.1.hook_mlp_out/c.3.0", "context/c.0", "tokens/c.0.0"])
def test_verify_names_an_object_with_one_flipped_bit(make_store: MakeStore, bucket: Location, name: str) -> None:
    store, _, _ = make_store(root=bucket)
    path = store.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    (store.path / "position" / "c.2").unlink()
    assert {problem.file for problem in verify(store.path) if problem} == {name, "position/c.2"}


def test_staged_rows_of_another_store_at_the_same_address_are_ignored(make_store: MakeStore, bucket: Location) -> None:
    store, _, tokens = make_store(root=bucket, windows=0)
    schema = store.schema
    staging = staging_path(store.path)
    WindowWriter(store.path, staging, schema, 0).sync(10)
    assert WindowWriter(store.path, staging, schema, 0).resume() == 10
    other = {**store.provenance, "model": {"name": "another"}}
    create(store.path, schema, [(tokens, tokens)], other, {})
    assert WindowWriter(store.path, staging, schema, 0).resume() == 0


def test_stores_of_one_name_in_two_buckets_have_separate_staging_folders() -> None:
    one, two = (staging_path(locate(f"memory://{bucket}/gpt2.zarr")) for bucket in "ab")
    assert one != two
    assert one.parent == two.parent == Path("data")
    assert one.match("gpt2-*.zarr.partial")


def test_open_store_refuses_an_address_without_a_store(bucket: Location) -> None:
    with pytest.raises(StoreError, match="there is no store at memory://"):
        open_store(f"{bucket}/none.zarr")
    (bucket / "other.zarr" / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group"}))
    with pytest.raises(StoreError, match="not an activation store"):
        open_store(bucket / "other.zarr")
    with pytest.raises(InputError, match="cannot be reached"):
        open_store("nowhere://bucket/gpt2.zarr")


@pytest.mark.skipif(importlib.util.find_spec("adlfs") is not None, reason="the driver is installed")
def test_missing_object_store_driver_is_named_with_option_and_remedy(command: Command) -> None:
    with pytest.raises(InputError, match=r"abfs:// is not installed \(pip install adlfs\)"):
        open_store("abfs://bucket/gpt2.zarr")
    for name, option, more in (("harvest", "--out", ["--model", "demo"]), ("analyze", "--store", ["store"])):
        done = command(name, *more, option, "abfs://bucket/gpt2.zarr")
        assert done.returncode == 2
        assert option in done.stderr
        assert "pip install adlfs" in done.stderr


def test_plain_and_file_addresses_become_paths(tmp_path: Path) -> None:
    assert locate("data/gpt2.zarr") == Path("data/gpt2.zarr")
    assert locate(f"file://{tmp_path}/gpt2.zarr") == tmp_path / "gpt2.zarr"
    address = locate("memory://bucket/gpt2.zarr")
    assert isinstance(address, UPath)
    assert fsspec.filesystem("memory") is address.fs
