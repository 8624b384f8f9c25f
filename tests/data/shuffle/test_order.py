from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.shuffle.order import Order, Shards

orders = st.builds(
    lambda rows, windows, pool, seed, mixed: Order(
        Shards(tuple(rows), tuple(sorted(windows[i % len(windows)] for i in range(len(rows))))), pool, seed, mixed
    ),
    st.lists(st.integers(1, 40), min_size=1, max_size=12), st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.integers(1, 6), st.integers(0, 2**40), st.none() | st.integers(1, 5),
)  # fmt: skip


def rows_of(order: Order, step: int, batch_size: int) -> list[tuple[int, int]]:
    shards_and_rows = []
    for part in order.batch(step, batch_size):
        shards_and_rows += list(zip(part.shards.tolist(), part.rows.tolist(), strict=True))
    return shards_and_rows


@given(order=orders, data=st.data())
def test_every_row_is_visited_once_per_epoch(order: Order, data: st.DataObject) -> None:
    n_rows = order.shards.n_rows
    batch_size = data.draw(st.integers(1, n_rows))
    epochs = 3
    visited = [row for step in range(-(-epochs * n_rows // batch_size)) for row in rows_of(order, step, batch_size)]
    everything = sorted((shard, row) for shard, n in enumerate(order.shards.rows) for row in range(n))
    per_batch_sorted = visited[: epochs * n_rows]
    # Rows of a batch are sorted, so an epoch that ends inside a batch is found by counting visits.
    counts = dict.fromkeys(everything, 0)
    for row in per_batch_sorted:
        counts[row] += 1
    assert set(counts.values()) == {epochs}


@given(order=orders, step=st.integers(0, 50), data=st.data())
def test_seeking_to_a_step_gives_the_batch_reached_by_iterating(order: Order, step: int, data: st.DataObject) -> None:
    batch_size = data.draw(st.integers(1, order.shards.n_rows))
    walked = [rows_of(order, s, batch_size) for s in range(step + 1)]
    fresh = Order(order.shards, order.pool, order.seed, order.mixed_windows)
    assert rows_of(fresh, step, batch_size) == walked[-1]
    assert len(walked[-1]) == batch_size


@given(order=orders, step=st.integers(0, 30), data=st.data())
def test_a_batch_touches_no_more_than_two_groups_unless_it_is_larger_than_one(
    order: Order, step: int, data: st.DataObject
) -> None:
    smallest = min(order.shards.rows)
    batch_size = data.draw(st.integers(1, smallest))
    slices = order.batch_slices(step, batch_size)
    assert len(slices) <= 2
    for part in slices:
        assert set(order.shard_rows(part).shards.tolist()) <= set(order.members(part.epoch, part.group).tolist())


def test_epochs_and_seeds_order_rows_differently() -> None:
    shards = Shards((64,) * 8, (0,) * 4 + (1,) * 4)
    first, second = Order(shards, 2, 0), Order(shards, 2, 1)
    assert rows_of(first, 0, 32) != rows_of(second, 0, 32)
    assert rows_of(first, 0, 32) != rows_of(first, 512 // 32, 32)


def test_neighbouring_shards_come_from_different_windows() -> None:
    order = Order(Shards((16,) * 320, tuple(i // 32 for i in range(320))), pool=10, seed=7)
    for group in range(order.n_groups):
        windows = order.members(0, group) // 32
        assert len(np.unique(windows)) >= 9


def test_a_batch_larger_than_the_store_is_refused() -> None:
    with pytest.raises(ValueError, match="more than the 30 training rows"):
        Order(Shards((10, 20), (0, 0)), 2, 0).batch(0, 31)
