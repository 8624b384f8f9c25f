"""The windows that the batches of an order need, if it visits the windows in order: pure arithmetic, no I/O.

A batch needs the first m windows of the store, except those that no later batch reads. Both bounds only grow.
"""

from __future__ import annotations

import numpy as np

from data.shuffle.order import Order


class WindowSchedule:
    """The windows that each batch of the first epoch needs. Batches have `batch_size` rows.

    A stream holds whole groups of shards, so a batch needs the windows of all shards of its groups.
    """

    def __init__(self, order: Order, batch_size: int, n_windows: int) -> None:
        self.batch_size, self.n_windows = batch_size, n_windows
        self.n_batches = order.shards.n_rows // batch_size
        self._order = order
        windows = np.asarray(order.shards.windows)
        by_group = [windows[order.members(0, group)] for group in range(order.n_groups)]
        highest, lowest = (np.array([end(group) for group in by_group]) for end in (np.max, np.min))
        self._needed = np.maximum.accumulate(highest) + 1
        self._unused = np.append(np.minimum.accumulate(lowest[::-1])[::-1], n_windows)

    def needed(self, n_batches: int) -> int:
        """Return how many of the first windows must exist for the first `n_batches` batches."""
        return int(self._needed[self._order.group_of(n_batches * self.batch_size - 1)]) if n_batches else 0

    def unused(self, batch: int) -> int:
        """Return how many of the first windows no batch from number `batch` on reads."""
        return int(self._unused[self._order.group_of(batch * self.batch_size)])

    def readable(self, n_windows: int) -> int:
        """Return how many of the first batches can be read if the first `n_windows` windows exist."""
        n_groups = int(np.searchsorted(self._needed, n_windows, side="right"))
        return int(self._order.group_start(n_groups)) // self.batch_size

    def most_at_once(self, ahead: int) -> int:
        """Return the largest number of windows that must exist together to read `ahead` batches from any batch on."""
        ends = (self._order.group_start(group + 1) for group in range(len(self._needed)))
        last_batches = {min(-(-end // self.batch_size), self.n_batches) - 1 for end in ends}  # of each group
        spans = [
            self.needed(min(batch + ahead, self.n_batches)) - self.unused(batch) for batch in last_batches if batch >= 0
        ]
        return max(spans, default=0)
