"""A store in an object store with a cache of its shards, against a server process that counts requests."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from data import InputError, ShuffledStream, Store, open_store
from data.system.file_cache import FileCache
from data.system.location import locate
from tests.helpers.fixture_types import Command, LocalStore, MakeStore
from tests.helpers.processes.zygote import Zygote
from tests.helpers.servers.s3_front import S3Front

WIDTHS = {"blocks.0.hook_mlp_out": 8}
SHARD_BYTES = 128 * 8 * 2 + 4  # rows × width × float16, and the trailer


@pytest.fixture
def local(make_store: MakeStore) -> LocalStore:
    return make_store(widths=WIDTHS)[0]


@pytest.fixture
def address(local: LocalStore, s3: S3Front) -> str:
    from tests.helpers.servers.s3 import upload

    return upload(local.path, f"{uuid.uuid4().hex}/made.zarr")


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache", 10**6)


def copies(cache: FileCache, part: str = "hook_mlp_out") -> list[Path]:
    return sorted(path for path in cache.folder.iterdir() if path.suffix == ".copy" and part in path.name)


def epoch(store: Store) -> Iterator[torch.Tensor]:
    with ShuffledStream(store, batch_size=64, pool=3, seed=4) as stream:
        for _ in range(store.n_rows("train") // 64):
            yield next(stream).clone()


def shard_requests(s3: S3Front) -> int:
    return sum("hook_mlp_out/c." in line for line in s3.requests())


def read_all(store: Store) -> None:
    for shard in store.shards("train"):
        store.rows(store.hooks[0], shard)


def test_second_pass_reads_the_cache_without_a_request(
    address: str, local: LocalStore, cache: FileCache, s3: S3Front
) -> None:
    store = open_store(address, cache=cache)
    assert all(torch.equal(one, other) for one, other in zip(epoch(store), epoch(local), strict=True))
    n_shards = len(local.shards("train"))
    assert shard_requests(s3) == n_shards == len(copies(cache))
    assert store.mapped
    before = s3.requests()
    list(epoch(store))
    assert s3.requests() == before
    list(epoch(open_store(address, cache=cache)))  # as another process would
    assert shard_requests(s3) == n_shards
    assert {path.suffix for path in cache.folder.iterdir()} == {".copy"}


def test_two_processes_share_a_cache_and_fetch_each_shard_once(
    address: str, local: LocalStore, cache: FileCache, s3: S3Front, zygote: Zygote, tmp_path: Path
) -> None:
    zygote.preload("boto3")
    processes = [
        zygote.start(
            "tests.helpers.processes.print_sum:print_sum",
            address,
            cache.folder,
            folder=tmp_path,
            environment=s3.environment,
        )
        for _ in range(2)
    ]
    ended = [process.wait() for process in processes]
    assert [done.code for done in ended] == [0, 0], ended[0].stderr
    rows = (local.rows(local.hooks[0], shard).sum(dtype="float64") for shard in local.shards("train"))
    assert [float(done.stdout) for done in ended] == [pytest.approx(float(sum(rows)))] * 2
    assert shard_requests(s3) == len(local.shards("train"))


def test_cache_keeps_its_limit_and_removes_the_least_recently_used_copies(
    address: str, local: LocalStore, tmp_path: Path, s3: S3Front
) -> None:
    cache = FileCache(tmp_path / "cache", 4 * SHARD_BYTES)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "notes.txt").write_text("x" * 10 * SHARD_BYTES, encoding="utf-8")
    store, hook = open_store(address, cache=cache), local.hooks[0]
    first, second, third, fourth, fifth = store.shards("train")[:5]
    for shard in (first, second, third, fourth):
        store.rows(hook, shard)
    made = copies(cache)
    for age, shard in enumerate((second, first, fourth, third)):  # the order of use, as clocks may be coarse
        path = next(path for path in made if path.name.split("-c.")[1].startswith(f"{shard}."))
        os.utime(path, ns=(age, age))
    store.rows(hook, second)  # now the most recent
    mapped = store.rows(hook, fifth)
    left = {int(path.name.split("-c.")[1].split(".")[0]) for path in copies(cache)}
    assert left == {second, third, fourth, fifth}
    read_all(store)
    assert sum(path.stat().st_size for path in copies(cache, "")) <= 4 * SHARD_BYTES
    assert not any("-c." + str(fifth) + "." in path.name for path in copies(cache))
    assert np.array_equal(mapped, local.rows(hook, fifth))  # its file is gone, and the map is still whole
    assert (tmp_path / "cache" / "notes.txt").exists()


def test_copy_that_another_process_removes_while_it_is_written_is_read_from_memory(
    cache: FileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = np.arange(100, dtype=np.uint8)
    reserve = FileCache._reserve

    def reserve_and_lose(self: FileCache, path: Path, size: int) -> Path:
        partial = reserve(self, path, size)
        FileCache(self.folder, 1)._remove_until(0)  # a process with a smaller --cache-size
        return partial

    monkeypatch.setattr(FileCache, "_reserve", reserve_and_lose)
    assert np.array_equal(cache.put(cache.path(locate("memory://x.zarr"), "c.0", 7), content), content)
    assert list(cache.folder.iterdir()) == []


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: bytes([data[0] ^ 1]) + data[1:]])
def test_damaged_copy_is_fetched_again(
    address: str, local: LocalStore, cache: FileCache, s3: S3Front, damage: Callable[[bytes], bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    read_all(open_store(address, cache=cache))
    damaged = copies(cache)[0]
    damaged.write_bytes(damage(damaged.read_bytes()))
    before = shard_requests(s3)
    store = open_store(address, cache=cache)
    for shard in store.shards("train"):
        assert np.array_equal(store.rows(store.hooks[0], shard), local.rows(local.hooks[0], shard))
    assert shard_requests(s3) == before + 1
    assert capsys.readouterr().err == f"{damaged} is damaged; it is fetched again\n"


def test_store_of_other_content_at_the_same_address_is_not_read_from_the_cache(
    make_store: MakeStore, address: str, cache: FileCache
) -> None:
    from tests.helpers.servers.s3 import upload

    read_all(open_store(address, cache=cache))
    other = make_store(widths=WIDTHS, seed=1, name="other.zarr")[0]
    upload(other.path, address.removeprefix("s3://bucket/"))
    store, shard = open_store(address, cache=cache), other.shards("train")[0]
    assert np.array_equal(store.rows(store.hooks[0], shard), other.rows(other.hooks[0], shard))


def test_cache_smaller_than_a_shard_and_a_full_disk_are_refused_in_one_sentence(
    address: str, cache: FileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = open_store(address, cache=FileCache(cache.folder, 1000))
    with pytest.raises(InputError, match="--cache-size 1,000: is less than a file of the store, which has 2,052 bytes"):
        read_all(small)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(InputError, match=r"cache: a file cannot be stored there \(No space left on device\); give a s"):
        read_all(open_store(address, cache=cache))
    assert list(cache.folder.iterdir()) == []


def test_cache_options_without_effect_and_an_unusable_folder_are_refused_in_one_sentence(
    command: Command, address: str, local: LocalStore, cache: FileCache
) -> None:
    done = command("analyze", "store", "--store", address, "--cache", cache.folder, "--cache-size", "1M")
    assert done.returncode == 0, done.stderr
    for more, sentence in (
        (["--store", local.path, "--cache", cache.folder], "--cache: has no effect on"),
        (["--store", address, "--cache-size", "1M"], "--cache-size: has no effect without --cache"),
        (["--store", address, "--cache", local.path / "zarr.json"], "zarr.json is not a folder; choose another folder"),
    ):
        done = command("analyze", "store", *more)
        assert done.returncode == 2
        assert sentence in done.stderr
