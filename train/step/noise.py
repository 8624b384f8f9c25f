"""Standard normal noise as a function of a seed and a step, drawn for some rows at a time.

All SAEs of one seed share the noise, whatever their run and layer, so it adds nothing to the differences between them.
Within one SAE it is independent for every row and feature. NSAE scales it by σ (`NSAE.gate_`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from data.permutation import seed_of

SEED_BITS = (1 << 63) - 1  # PyTorch's generators take seeds up to this

# The noise ε of one batch: a slice of its rows → standard normal [rows, d_sae]. A slice begins at a multiple of
# `noise_rows` (StepWorkspace) and has at most that many rows. The tensor is valid until the next call.
BatchNoise = Callable[[slice], Tensor]


def torch_seed(*key: int) -> int:
    """Hash whole numbers to a seed for PyTorch's generators."""
    return seed_of(*key) & SEED_BITS


def part_noise(noise: BatchNoise, begin: int, rows_each: int) -> BatchNoise:
    """Return the noise of a batch's rows from `begin` on, of a noise that is drawn for `rows_each` rows at a time.

    So a row's noise is the same however a batch is split.
    """

    def draw(rows: slice) -> Tensor:
        first, end = begin + rows.start, begin + rows.stop
        starts = range(first - first % rows_each, end, rows_each)  # of the draws that have these rows
        parts = (noise(slice(start, min(start + rows_each, end)))[max(first - start, 0) :] for start in starts)
        return next(parts) if len(starts) == 1 else torch.cat([part.clone() for part in parts])

    return draw


class NoiseSource:
    """Draws noise for `rows_each` rows at a time, and caches the last `kept` draws for the stacks of the same seed."""

    def __init__(
        self, rows_each: int, d_sae: int, *, kept: int, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self._rows_each = rows_each
        self._memory = torch.empty(kept, rows_each, d_sae, device=device, dtype=dtype)
        self._keys: list[tuple[int, ...] | None] = [None] * kept
        self._generator = torch.Generator(device)

    def batch(self, *key: int) -> BatchNoise:
        """Return the noise of a batch, which is a function of its key (a seed, a step …) alone."""

        def draw(rows: slice) -> Tensor:
            number = rows.start // self._rows_each
            slot = number % len(self._keys)
            if self._keys[slot] != (*key, number):
                self._generator.manual_seed(torch_seed(*key, number))
                self._memory[slot].normal_(generator=self._generator)
                self._keys[slot] = (*key, number)
            return self._memory[slot, : rows.stop - rows.start]

        return draw
