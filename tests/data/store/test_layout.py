from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.store.layout import Layout, choose_rows_per_shard

layouts = st.builds(
    lambda n, heldout, per_context, per_shard, per_window, seed: Layout(
        n, min(heldout, n - 1), per_context, per_shard, per_window, seed
    ),
    st.integers(1, 60), st.integers(0, 30), st.integers(1, 40), st.sampled_from([1, 4, 32, 128]),
    st.integers(1, 7), st.integers(0, 2**32),
)  # fmt: skip


def every_row(layout: Layout, windows: list[int]) -> list[tuple[int, int, int]]:
    """(row, shard, offset) of all rows of some windows, read off `rows_of_rounds`."""
    rows = []
    for window in windows:
        for assignment in layout.assignments(window):
            columns = assignment.rows_of_rounds(0, assignment.n_rounds)
            for offset, shard in zip(*np.nonzero(columns >= 0), strict=True):
                rows.append((int(columns[offset, shard]), assignment.first_shard + int(shard), int(offset)))
    return rows


@given(layout=layouts)
def test_every_row_has_one_shard_position_and_every_position_one_row(layout: Layout) -> None:
    rows = every_row(layout, list(range(layout.n_windows)))
    assert sorted(row for row, _, _ in rows) == list(range(layout.n_rows))
    assert len({(shard, offset) for _, shard, offset in rows}) == layout.n_rows


@given(layout=layouts)
def test_shards_fit_and_have_no_gaps(layout: Layout) -> None:
    counts: dict[int, list[int]] = {}
    for _, shard, offset in every_row(layout, list(range(layout.n_windows))):
        counts.setdefault(shard, []).append(offset)
    assert set(counts) == set(range(layout.n_shards))
    for offsets in counts.values():
        assert sorted(offsets) == list(range(len(offsets)))
        assert len(offsets) <= layout.rows_per_shard


@given(layout=layouts)
def test_a_shard_belongs_to_one_split(layout: Layout) -> None:
    heldout_rows = layout.n_heldout_contexts * layout.rows_per_context
    for row, shard, _ in every_row(layout, list(range(layout.n_windows))):
        assert (row < heldout_rows) == (shard < layout.n_heldout_shards)


@given(layout=layouts, world_size=st.integers(1, 5))
def test_workers_share_no_row_and_cover_all_rows(layout: Layout, world_size: int) -> None:
    rows = [
        {row for row, _, _ in every_row(layout, list(layout.worker_windows(rank, world_size)))}
        for rank in range(world_size)
    ]
    assert sum(map(len, rows)) == layout.n_rows
    assert len(set().union(*rows)) == layout.n_rows


@given(layout=layouts, batch=st.integers(1, 9))
def test_batches_of_any_size_place_rows_as_the_whole_window_does(layout: Layout, batch: int) -> None:
    for window in range(layout.n_windows):
        expected = {row: (shard, offset) for row, shard, offset in every_row(layout, [window])}
        position_of_row: dict[int, tuple[int, int]] = {}
        first, last = layout.window_contexts(window)
        for context in range(first, last, batch):
            lo, hi = context * layout.rows_per_context, min(context + batch, last) * layout.rows_per_context
            for assignment in layout.assignments(window):
                rows, ranges = assignment.writing_order(lo, hi)
                places = [(part.shard, part.offset + i) for part in ranges for i in range(part.count)]
                position_of_row |= dict(zip(rows.tolist(), places, strict=True))
        assert position_of_row == expected


@given(layout=layouts)
def test_shard_rows_equal_the_number_of_rows_assigned_to_each_shard(layout: Layout) -> None:
    for window in range(layout.n_windows):
        for assignment in layout.assignments(window):
            counted = (assignment.rows_of_rounds(0, assignment.n_rounds) >= 0).sum(axis=0)
            assert np.array_equal(assignment.shard_rows(), counted)


def test_shard_holds_rows_of_all_contexts_and_positions() -> None:
    layout = Layout(1024, 0, 256, 8192, 32, seed=3)
    assignment = layout.assignments(0)[0]
    column = assignment.rows_of_rounds(0, assignment.n_rounds)[:, 5]
    assert len(np.unique(column // 256)) == 1024  # 262144 rows in 32 shards: 8 of each context's 256
    assert len(np.unique(column % 256)) == 256


@pytest.mark.parametrize(
    ("n_rows", "row_bytes", "expected"),
    [(10**8, 1536, 16384), (10**8, 3072, 8192), (10**8, 128, 65536), (300_000, 256, 16384), (1000, 256, 256)],
)
def test_shards_are_a_power_of_two_within_24_mebibytes(n_rows: int, row_bytes: int, expected: int) -> None:
    assert choose_rows_per_shard(n_rows, row_bytes) == expected
