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
from harvest.gpu.transfer import to_device, to_host

Arrays = Mapping[str, Mapping[str, NDArray[Any]]]  # hook → field of RunningSums → array [shards, …]


class WindowSums:
    """The sums of a window's shards on a device. All work is on the current stream, which must be the same throughout.

    arrays: the sums of the rows that are written already. channel_scales: hook → float32 [d], if the type has them.
    """

    def __init__(
        self, schema: Schema, first_shard: int, arrays: Arrays, channel_scales: Mapping[str, torch.Tensor],
        device: torch.device,
    ) -> None:  # fmt: skip
        self._schema, self._first_shard, self._device = schema, first_shard, device
        self._channel_scales = channel_scales
        self._sums = {
            hook: {field: to_device(values[field].copy(), device) for field in STATS_FIELDS}
            for hook, values in arrays.items()
        }
        self._edges = to_device(bin_edges().copy(), device)

    def add(self, encoded: Mapping[str, torch.Tensor], rows: NDArray[np.int64], ranges: list[RowRange]) -> torch.Tensor:
        """Add rows as stored: array name → tensor [n, …] on the device, in the order of `ranges`.

        rows: int64 [n], their numbers. Returns whether all values are finite: bool [] on the device.
        """
        schema = self._schema
        counts = np.array([row_range.count for row_range in ranges])
        slots = np.array([row_range.shard - self._first_shard for row_range in ranges])
        first_rows = schema.at_first_position(rows).astype(np.int8)
        begins, of_range, row_slots, first = (
            to_device(values, self._device)
            for values in (
                np.concatenate([[0], counts.cumsum()]), slots, np.repeat(slots, counts), first_rows,
            )
        )  # fmt: skip
        largest = torch.empty(len(rows), dtype=torch.float64, device=self._device)
        even = len(rows) + len(rows) % 2  # each hook's begin at a multiple of 16 bytes, else Triton compiles once more
        all_squares = torch.empty((len(self._sums), even), dtype=torch.float64, device=self._device)[:, : len(rows)]
        for (hook, sums), squares in zip(self._sums.items(), all_squares, strict=True):
            parts = {suffix: encoded[hook + suffix] for suffix in (VALUES, *schema.encoding.row_scales)}
            x = schema.encoding.decode_tensor(parts, self._channel_scales.get(hook)).contiguous()
            add_moments_(sums["moments"], x, first, begins, of_range)
            measure_rows_(sums["histogram"], squares, largest, x, first, row_slots, self._edges)
            add_norms_(sums["norms"], squares, largest, first, begins, of_range)
        return all_squares.isfinite().all()  # float64 holds the squares of float32

    def arrays(self) -> Arrays:
        """Return the sums of all rows added so far, on the host; they are there once the stream has come to them."""
        return {hook: {field: to_host(values).numpy() for field, values in sums.items()}
                for hook, sums in self._sums.items()}  # fmt: skip
