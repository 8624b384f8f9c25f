from functools import lru_cache

import numpy as np
import pytest

from data.permutation import Int
from data.shuffle.order import Order, Shards
from data.shuffle.quality import Contexts, mixing, uniform_distinct
from data.shuffle.stream import DEFAULT_POOL
from data.store.layout import Layout, choose_rows_per_shard
from data.summary import store_mixing
from tests.helpers.fixture_types import MakeStore


def simulated(layout: Layout, *, pool: int, seed: int) -> tuple[Order, Contexts]:
    """The order and row origins that a store of this layout would have."""
    windows = [layout.assignments(window) for window in range(layout.n_windows)]
    assignments = [part for parts in windows for part in parts if part.split == "train"]
    owner = [(i, j) for i, part in enumerate(assignments) for j in range(part.n_shards)]
    shards = Shards(
        rows=tuple(int(n) for part in assignments for n in part.shard_rows()),
        windows=tuple(assignments[i].first_shard // layout.shards_per_window for i, _ in owner),
    )

    @lru_cache(maxsize=8)
    def rows(i: int) -> Int:
        return assignments[i].rows_of_rounds(0, assignments[i].n_rounds)

    def contexts(shard: int) -> Int:
        i, j = owner[shard]
        column = rows(i)[:, j]
        return column[column >= 0] // layout.rows_per_context

    return Order(shards, pool=pool, seed=seed), contexts


def test_store_of_10m_tokens_mixes_at_least_90_percent_as_well_as_a_uniform_draw() -> None:
    rows_per_shard = choose_rows_per_shard(10_000_000, 768 * 2)
    layout = Layout(39_062, 391, 256, rows_per_shard, 32, seed=0)
    order, contexts = simulated(layout, pool=DEFAULT_POOL, seed=0)
    assert mixing(order, contexts, 256) >= 0.9
    group = DEFAULT_POOL * rows_per_shard * 768 * 2
    assert 2 * group <= 4 << 30  # the present group and the next, one layer
    assert 12 * 2 * group <= 8 << 30  # twelve layers


def test_the_uniform_draw_agrees_with_a_simulated_one() -> None:
    rng = np.random.default_rng(0)
    drawn = [len(np.unique(rng.choice(64 * 500, 900, replace=False) // 64)) for _ in range(300)]
    assert uniform_distinct(64, 64 * 500, 900) == pytest.approx(np.mean(drawn), rel=0.005)


def test_unmixed_rows_score_low() -> None:
    """A store whose shards each hold a few whole contexts, read one shard at a time."""
    layout = Layout(1000, 0, 64, 256, 1, seed=0)
    order, contexts = simulated(layout, pool=1, seed=0)
    assert mixing(order, contexts, 64, batch_size=256) < 0.05


def test_mixing_of_a_store_equals_its_simulation(make_store: MakeStore) -> None:
    store, _, _ = make_store(n_contexts=120, rows_per_shard=64)
    order, contexts = simulated(store.layout, pool=3, seed=0)
    expected = mixing(order, contexts, store.layout.rows_per_context, batch_size=128)
    assert store_mixing(store, pool=3, batch_size=128) == expected
