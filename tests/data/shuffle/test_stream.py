from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data import InputError, ShuffledStream, Store, StoreError, open_store
from data.errors import DamagedError
from data.shuffle.stream import training_order
from tests.helpers.fixture_types import LocalStore, MakeStore
from tests.helpers.processes.script import printed
from tests.helpers.processes.zygote import Zygote


def labelled(make_store: MakeStore, **more: Any) -> tuple[LocalStore, dict[str, np.ndarray]]:
    """A store whose entries tell their row, so that a batch shows which rows it holds."""
    store, values, _ = make_store(
        dtype="float32", widths={"blocks.0.hook_mlp_out": 4, "blocks.1.hook_mlp_out": 4}, **more
    )
    return store, values


def rows_in(batch: torch.Tensor, values: dict[str, np.ndarray]) -> list[int]:
    numbers = []
    lookup = {row.tobytes(): i for i, row in enumerate(values["blocks.0.hook_mlp_out"])}
    for x in batch[:, 0].numpy():
        numbers.append(lookup[x.tobytes()])
    return numbers


def test_an_epoch_visits_every_training_row_once_and_no_held_out_row(make_store: MakeStore) -> None:
    store, values = labelled(make_store)
    n_rows = store.n_rows("train")
    batch_size = 100
    with ShuffledStream(store, batch_size=batch_size, pool=3) as stream:
        visited = [row for _ in range(n_rows // batch_size) for row in rows_in(next(stream), values)]
    heldout = store.layout.split_rows("heldout")
    assert sorted(visited) == list(range(heldout, heldout + n_rows))


def test_one_hook_may_be_given_by_its_name_alone(make_store: MakeStore) -> None:
    store, _ = labelled(make_store)
    one = ShuffledStream(store, "blocks.1.hook_mlp_out", batch_size=64)
    both = ShuffledStream(store, batch_size=64)
    with one, both:
        assert torch.equal(next(one)[:, 0], next(both)[:, 1])


def test_all_layers_of_a_batch_come_from_the_same_rows(make_store: MakeStore) -> None:
    store, values = labelled(make_store)
    with ShuffledStream(store, batch_size=64, pool=3) as stream:
        for _ in range(5):
            batch = next(stream)
            assert batch.shape == (64, 2, 4)
            rows = rows_in(batch, values)
            assert np.array_equal(batch[:, 1].numpy(), values["blocks.1.hook_mlp_out"][rows])


def test_stream_started_at_a_step_gives_the_batches_after_it(make_store: MakeStore) -> None:
    store, _ = labelled(make_store)
    with ShuffledStream(store, batch_size=64, pool=3, seed=5) as walked:
        batches = [next(walked).clone() for _ in range(60)]
    for step in (0, 7, 24, 25, 59):
        with ShuffledStream(store, batch_size=64, pool=3, seed=5, start=step) as stream:
            assert torch.equal(next(stream), batches[step])


def test_subset_of_layers_streams_the_same_rows(make_store: MakeStore) -> None:
    store, _ = labelled(make_store)
    with (
        ShuffledStream(store, batch_size=64, pool=2) as both,
        ShuffledStream(store, ["blocks.1.hook_mlp_out"], batch_size=64, pool=2) as one,
    ):
        for _ in range(4):
            assert torch.equal(next(both)[:, 1], next(one)[:, 0])


@pytest.mark.parametrize(
    ("dtype", "compression"), [("bfloat16", "none"), ("float16", "zstd"), ("int8", "none"), ("int4", "none")]
)
def test_stream_gives_the_values_of_the_reader_for_every_stored_type(
    make_store: MakeStore, dtype: str, compression: str
) -> None:
    store, _, _ = make_store(dtype=dtype, compression=compression)
    hook = "blocks.1.hook_mlp_out"
    order, members = training_order(store, pool=3, seed=0)
    with ShuffledStream(store, [hook], batch_size=64, pool=3) as stream:
        batch = next(stream)[:, 0].float().numpy()
    expected = [
        store.rows(hook, members[shard])[row]
        for part in order.batch(0, 64)
        for shard, row in zip(part.shards, part.rows, strict=True)
    ]
    assert np.allclose(batch, np.stack(expected), rtol=1e-6)


def test_stream_holds_at_most_two_groups_of_shards(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.shuffle.stream.HELD_BYTES", 0)  # so that two groups are the bound
    store, _ = labelled(make_store)
    with ShuffledStream(store, batch_size=64, pool=3) as stream:
        for _ in range(40):
            next(stream)
            assert len(stream._shards.maps) <= 2 * 3
        assert stream.memory_bytes == 6 * 128 * 2 * 4 * 4 + 5 * 64 * 2 * 4 * 4


def test_stream_with_little_memory_uses_one_thread_and_gives_the_same_batches(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = labelled(make_store)
    with ShuffledStream(store, batch_size=64, pool=3) as stream:
        at_large, batches = stream.memory_bytes, [next(stream).clone() for _ in range(20)]
    monkeypatch.setattr("data.shuffle.stream.available_memory", lambda: 0)
    monkeypatch.setattr("data.shuffle.stream.cpus", lambda: 1)
    with ShuffledStream(store, batch_size=64, pool=3) as stream:
        assert all(torch.equal(next(stream), batch) for batch in batches)
        assert stream.memory_bytes < at_large
        assert sum(thread.name.startswith("read") for thread in threading.enumerate()) == 1


def test_closing_a_stream_ends_its_threads(make_store: MakeStore) -> None:
    store, _ = labelled(make_store)
    before = threading.active_count()
    stream = ShuffledStream(store, batch_size=64)
    next(stream)
    stream.close()
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(stream)


def test_deleted_shard_raises_in_the_thread_that_reads_the_stream(make_store: MakeStore) -> None:
    store, _ = labelled(make_store)
    for path in (store.path / "blocks.0.hook_mlp_out").glob("c.*"):
        path.unlink()
    stream = ShuffledStream(store, batch_size=64)
    with pytest.raises((OSError, InputError)):
        next(stream)


def take(batches: list[torch.Tensor], stream: ShuffledStream, n: int) -> list[torch.Tensor]:
    """Add the next batches to those taken before, as far as they come."""
    for _ in range(n):
        batches.append(next(stream).clone())
    return batches


def expected_batches(store: Store, n: int) -> list[torch.Tensor]:
    with ShuffledStream(store, batch_size=64, pool=3) as stream:
        return take([], stream, n)


def test_stream_continues_with_the_failed_batch_after_a_transient_failure(make_store: MakeStore) -> None:
    store, _ = labelled(make_store)
    batches = expected_batches(store, 60)
    away = store.path.with_name("away")
    with ShuffledStream(store, batch_size=64, pool=3) as stream:
        received: list[torch.Tensor] = []
        failures = 0
        while len(received) < 60:
            if len(received) == 5 and not failures and not away.exists():
                (store.path / "blocks.1.hook_mlp_out").rename(away)
            try:
                received.append(next(stream).clone())
            except StoreError:
                failures += 1
                if failures == 3:
                    away.rename(store.path / "blocks.1.hook_mlp_out")
    assert failures >= 3
    assert all(torch.equal(one, other) for one, other in zip(received, batches, strict=True))


def test_stream_raises_a_lasting_failure_at_every_batch(make_store: MakeStore) -> None:
    store, _ = labelled(make_store)
    batches = expected_batches(store, 60)
    damaged = store.path / "blocks.0.hook_mlp_out" / f"c.{store.shards('train')[5]}.0"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    received: list[torch.Tensor] = []
    with ShuffledStream(open_store(store.path), batch_size=64, pool=3) as stream:
        with pytest.raises(DamagedError, match=str(damaged)):
            take(received, stream, 60)
        for _ in range(3):
            with pytest.raises(DamagedError, match=str(damaged)):
                next(stream)
    assert all(torch.equal(one, other) for one, other in zip(received, batches, strict=False))


@pytest.mark.parametrize("change", ["flipped", "zeroed", "swapped", "foreign", "truncated", "emptied", "a folder"])
def test_damaged_shard_is_named_and_never_part_of_a_batch(make_store: MakeStore, change: str) -> None:
    store, _ = labelled(make_store)
    other, _ = labelled(make_store, name="other.zarr", seed=1)
    folder = store.path / "blocks.1.hook_mlp_out"
    file, neighbour = folder / "c.7.0", folder / "c.8.0"
    whole, beside = file.read_bytes(), neighbour.read_bytes()
    new = {
        "flipped": bytes([whole[0] ^ 1, *whole[1:]]),
        "zeroed": bytes(len(whole)),
        "swapped": beside,
        "foreign": (other.path / folder.name / file.name).read_bytes(),
        "truncated": whole[:-100],
        "emptied": b"",
    }.get(change)
    file.unlink()
    if new is None:
        file.mkdir()
    else:
        file.write_bytes(new)
    if change == "swapped":
        neighbour.write_bytes(whole)
    named = pytest.raises(DamagedError, match=r"shard [78]: .*c\.[78]\.0")
    with ShuffledStream(store, batch_size=64, pool=3) as stream, named:
        take([], stream, 30)


def test_shard_truncated_under_a_running_stream_raises_instead_of_killing_the_process(make_store: MakeStore) -> None:
    store, _ = labelled(make_store)
    with ShuffledStream(store, batch_size=64, pool=3) as stream:
        next(stream)
        for future, _ in stream._pending:
            future.result()
        for file in (store.path / "blocks.1.hook_mlp_out").glob("c.*"):
            os.truncate(file, 100)
        with pytest.raises(DamagedError, match="it has 100 bytes now"):
            take([], stream, 10)


def test_stream_reads_more_shards_than_the_limit_of_open_files(
    make_store: MakeStore, zygote: Zygote, tmp_path: Path
) -> None:
    store, _, _ = make_store(widths={f"blocks.{i}.hook_mlp_out": 4 for i in range(8)}, dtype="int8")
    code = (
        "import resource, sys; from data import ShuffledStream, open_store; "
        "store = open_store(sys.argv[1]); "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48)); "
        "stream = ShuffledStream(store, batch_size=64); "
        "[next(stream) for _ in range(40)]; print(len(stream._shards.maps) * len(store.hooks))"
    )
    assert int(printed(zygote, tmp_path, code, store.path)) > 48


def test_stream_refuses_unequal_widths_and_stores_smaller_than_a_batch(make_store: MakeStore) -> None:
    store, _, _ = make_store()
    with pytest.raises(InputError, match="different widths"):
        ShuffledStream(store)
    with pytest.raises(InputError, match="fewer than a batch"):
        ShuffledStream(store, ["blocks.0.hook_mlp_out"], batch_size=10**6)
