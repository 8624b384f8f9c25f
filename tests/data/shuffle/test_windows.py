"""In the order of windows, a batch needs few windows, which follow from the order alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import ShuffledStream
from data.shuffle.order import Order, Shards
from data.shuffle.windows import WindowSchedule
from tests.helpers.fixture_types import MakeStore


def order_of(n_windows: int, shards: int, mixed: int, pool: int, seed: int) -> Order:
    windows = tuple(i // shards for i in range(n_windows * shards))
    return Order(Shards(tuple(3 + i % 5 for i in range(len(windows))), windows), pool, seed, mixed)


orders = st.builds(
    order_of, st.integers(1, 9), st.integers(1, 6), st.integers(1, 4), st.integers(1, 6), st.integers(0, 99)
)


def windows_of(order: Order, batch: int, batch_size: int) -> set[int]:
    """Return the windows of all shards of the groups that a batch touches."""
    return {
        order.shards.windows[member]
        for part in order.batch_slices(batch, batch_size)
        for member in order.members(part.epoch, part.group)
    }


@given(order=orders, batch_size=st.integers(1, 12), ahead=st.integers(1, 9))
def test_schedule_says_which_windows_batches_need(order: Order, batch_size: int, ahead: int) -> None:
    n_windows = max(order.shards.windows) + 1
    schedule = WindowSchedule(order, batch_size, n_windows)
    n = order.shards.n_rows // batch_size
    by_batch = [windows_of(order, batch, batch_size) for batch in range(n)]
    for batch in range(n + 1):
        assert schedule.needed(batch) == max((max(windows) + 1 for windows in by_batch[:batch]), default=0)
        later = [min(windows) for windows in by_batch[batch:]]
        assert schedule.unused(batch) <= min(later, default=n_windows)
    for count in range(n_windows + 1):
        assert schedule.readable(count) == sum(schedule.needed(batch + 1) <= count for batch in range(n))
    spans = [schedule.needed(min(batch + ahead, n)) - schedule.unused(batch) for batch in range(n)]
    assert schedule.most_at_once(ahead) == max(spans, default=0)


@pytest.mark.parametrize("mixed", [1, 4, 8])
def test_batch_needs_hardly_more_windows_than_are_mixed(mixed: int) -> None:
    order = Order(Shards((4,) * 1600, tuple(i // 32 for i in range(1600))), 12, 7, mixed)
    schedule = WindowSchedule(order, 16, 50)
    assert mixed <= schedule.most_at_once(1) <= mixed + 3
    assert schedule.unused(schedule.n_batches // 2) >= 25 - mixed - 1


def test_groups_mix_the_windows_evenly() -> None:
    order = Order(Shards((4,) * 1600, tuple(i // 32 for i in range(1600))), 12, 7, 8)
    counts = [len(np.unique(order.members(0, group) // 32)) for group in range(20, order.n_groups - 20)]
    assert min(counts) >= 7


def test_stream_in_the_order_of_windows_stops_where_rows_are_not_there_yet(
    make_store_in: MakeStore, tmp_path: object
) -> None:
    whole = make_store_in(root=tmp_path, n_contexts=200, name="whole.zarr")[0]
    part = make_store_in(root=tmp_path, n_contexts=200, name="part.zarr", windows=5)[0]
    hook = whole.hooks[0]
    with ShuffledStream(whole, hook, batch_size=64, mixed_windows=2, pool=3) as stream:
        n_batches = stream.order.shards.n_rows // 64
        batches = [next(stream).clone() for _ in range(n_batches)]
        available = WindowSchedule(stream.order, 64, whole.layout.n_windows).readable(5)
    assert 5 < available < n_batches
    with ShuffledStream(part, hook, batch_size=64, mixed_windows=2, pool=3, available=available) as stream:
        assert all(bool((batch == next(stream)).all()) for batch in batches[:available])
        with pytest.raises(StopIteration):
            next(stream)
        stream.extend(whole, n_batches)
        assert all(bool((batch == next(stream)).all()) for batch in batches[available:])
