"""The statistics of one window's rows, summed on the GPU, where the rows are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.store.encodings import VALUES
from data.store.layout import RowRange
from data.store.schema import STATS_FIELDS, Schema
from data.store.stats import bin_edges
from harvest.gpu.sum_kernels import add_moments_, add_norms_, measure_rows_

Arrays = Mapping[str, Mapping[str, NDArray[Any]]]  # hook → field of RunningSums → array [shards, …]


class WindowSums:
    """The sums of a window's shards on a device.

    arrays: the sums of the rows that are written already. channel_scales: hook → float32 [d], if the type has them.
    """

    def __init__(
        self, schema: Schema, first_shard: int, arrays: Arrays, channel_scales: Mapping[str, torch.Tensor],
        device: torch.device,
    ) -> None:  # fmt: skip
        self._schema, self._first_shard, self._device = schema, first_shard, device
        self._channel_scales = channel_scales
        self._sums = {
            hook: {field: torch.tensor(values[field], device=device) for field in STATS_FIELDS}
            for hook, values in arrays.items()
        }
        self._edges = torch.tensor(bin_edges(), device=device)

    def add(self, encoded: Mapping[str, torch.Tensor], rows: NDArray[np.int64], ranges: list[RowRange]) -> None:
        """Add rows as stored: array name → tensor [n, …] on the device, in the order of `ranges`.

        rows: int64 [n], their numbers.
        """
        schema = self._schema
        counts = np.array([row_range.count for row_range in ranges])
        slots = np.array([row_range.shard - self._first_shard for row_range in ranges])
        first_rows = schema.at_first_position(rows).astype(np.int8)
        begins, of_range, row_slots, first = (
            torch.from_numpy(values).to(self._device)
            for values in (
                np.concatenate([[0], counts.cumsum()]), slots, np.repeat(slots, counts), first_rows,
            )
        )  # fmt: skip
        squares, largest = (torch.empty(len(rows), dtype=torch.float64, device=self._device) for _ in range(2))
        for hook, sums in self._sums.items():
            parts = {suffix: encoded[hook + suffix] for suffix in (VALUES, *schema.encoding.row_scales)}
            x = schema.encoding.decode_tensor(parts, self._channel_scales.get(hook)).contiguous()
            add_moments_(sums["moments"], x, first, begins, of_range)
            measure_rows_(sums["histogram"], squares, largest, x, first, row_slots, self._edges)
            add_norms_(sums["norms"], squares, largest, first, begins, of_range)

    def arrays(self) -> Arrays:
        """Copy the sums of all rows added so far to the host; waits for the device."""
        return {
            hook: {field: values.cpu().numpy() for field, values in sums.items()} for hook, sums in self._sums.items()
        }
