from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from data import InputError, ShuffledStream
from data.stream import training_order


def labelled(make_store, **more):
    """A store whose entries tell their row, so that a batch shows which rows it holds."""
    store, values, _ = make_store(
        dtype="float32", widths={"blocks.0.hook_mlp_out": 4, "blocks.1.hook_mlp_out": 4}, **more
    )
    return store, values


def rows_in(batch: torch.Tensor, values: dict[str, np.ndarray]) -> list[int]:
    found = []
    lookup = {row.tobytes(): i for i, row in enumerate(values["blocks.0.hook_mlp_out"])}
    for x in batch[:, 0].numpy():
        found.append(lookup[x.tobytes()])
    return found


def test_an_epoch_visits_every_training_row_once_and_no_held_out_row(make_store) -> None:
    store, values = labelled(make_store)
    n_rows = store.n_rows("train")
    batch_size = 100
    with ShuffledStream(store, batch_size=batch_size, pool=3) as stream:
        visited = [row for _ in range(n_rows // batch_size) for row in rows_in(next(stream), values)]
    heldout = store.layout.split_rows("heldout")
    assert sorted(visited) == list(range(heldout, heldout + n_rows))


def test_all_layers_of_a_batch_come_from_the_same_rows(make_store) -> None:
    store, values = labelled(make_store)
    with ShuffledStream(store, batch_size=64, pool=3) as stream:
        for _ in range(5):
            batch = next(stream)
            assert batch.shape == (64, 2, 4)
            rows = rows_in(batch, values)
            assert np.array_equal(batch[:, 1].numpy(), values["blocks.1.hook_mlp_out"][rows])


def test_starting_at_a_step_equals_skipping_to_it(make_store) -> None:
    store, _ = labelled(make_store)
    with ShuffledStream(store, batch_size=64, pool=3, seed=5) as walked:
        batches = [next(walked).clone() for _ in range(60)]
    for step in (0, 7, 24, 25, 59):
        with ShuffledStream(store, batch_size=64, pool=3, seed=5, start=step) as stream:
            assert torch.equal(next(stream), batches[step])


def test_a_subset_of_layers_sees_the_same_rows(make_store) -> None:
    store, _ = labelled(make_store)
    with (
        ShuffledStream(store, batch_size=64, pool=2) as both,
        ShuffledStream(store, ["blocks.1.hook_mlp_out"], batch_size=64, pool=2) as one,
    ):
        for _ in range(4):
            assert torch.equal(next(both)[:, 1], next(one)[:, 0])


@pytest.mark.parametrize(("dtype", "compression"), [("bfloat16", "none"), ("float16", "zstd"), ("int8", "none")])
def test_other_types_stream_the_values_that_the_reader_gives(make_store, dtype: str, compression: str) -> None:
    store, _, _ = make_store(dtype=dtype, compression=compression)
    hook = "blocks.1.hook_mlp_out"
    order, members = training_order(store, pool=3, seed=0)
    with ShuffledStream(store, [hook], batch_size=64, pool=3) as stream:
        batch = next(stream)[:, 0].float().numpy()
    expected = [
        store.rows(hook, members[shard])[row]
        for segment in order.batch(0, 64)
        for shard, row in zip(segment.shards, segment.rows, strict=True)
    ]
    assert np.allclose(batch, np.stack(expected), rtol=1e-6)


def test_what_is_held_is_bounded(make_store, monkeypatch) -> None:
    monkeypatch.setattr("data.stream.HELD_BYTES", 0)  # so that two groups are the bound
    store, _ = labelled(make_store)
    with ShuffledStream(store, batch_size=64, pool=3) as stream:
        for _ in range(40):
            next(stream)
            assert len(stream._shards.maps) <= 2 * 3
        assert stream.memory_bytes == 6 * 128 * 2 * 4 * 4 + 5 * 64 * 2 * 4 * 4


def test_in_a_small_container_it_holds_two_groups_reads_with_one_thread_and_gives_the_same_batches(
    make_store, monkeypatch
) -> None:
    store, _ = labelled(make_store)
    with ShuffledStream(store, batch_size=64, pool=3) as stream:
        at_large, batches = stream.memory_bytes, [next(stream).clone() for _ in range(20)]
    monkeypatch.setattr("data.stream.available_memory", lambda: 0)
    monkeypatch.setattr("data.stream.cpus", lambda: 1)
    with ShuffledStream(store, batch_size=64, pool=3) as stream:
        assert all(torch.equal(next(stream), batch) for batch in batches)
        assert stream.memory_bytes < at_large
        assert sum(thread.name.startswith("read") for thread in threading.enumerate()) == 1


def test_closing_ends_the_thread(make_store) -> None:
    store, _ = labelled(make_store)
    before = threading.active_count()
    stream = ShuffledStream(store, batch_size=64)
    next(stream)
    stream.close()
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(stream)


def test_a_shard_that_vanishes_raises_in_the_caller(make_store) -> None:
    store, _ = labelled(make_store)
    for path in (store.path / "blocks.0.hook_mlp_out").glob("c.*"):
        path.unlink()
    stream = ShuffledStream(store, batch_size=64)
    with pytest.raises((OSError, InputError)):
        next(stream)


def test_unequal_widths_and_small_stores_are_refused_with_a_sentence(make_store) -> None:
    store, _, _ = make_store()
    with pytest.raises(InputError, match="different widths"):
        ShuffledStream(store)
    with pytest.raises(InputError, match="fewer than a batch"):
        ShuffledStream(store, ["blocks.0.hook_mlp_out"], batch_size=10**6)
