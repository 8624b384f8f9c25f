"""Standard normal noise as a function of a seed and a step, drawn piece by piece.

All SAEs of one seed share it, whatever their run and layer: their differences are then not the noise's. Within one SAE
it is independent for every entry.

Not here: its scale, σ (sae/nsae.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

from data.permutation import seed_of
from train.step.workspace import BatchNoise

SEED_BITS = (1 << 63) - 1  # what PyTorch's generators take


def torch_seed(*key: int) -> int:
    return seed_of(*key) & SEED_BITS


class NoiseSource:
    """`rows_each` rows at a time; the last `kept` of them are remembered, so that other groups need not draw anew."""

    def __init__(
        self, rows_each: int, d_sae: int, *, kept: int, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self._rows_each = rows_each
        self._memory = torch.empty(kept, rows_each, d_sae, device=device, dtype=dtype)
        self._keys: list[tuple[int, ...] | None] = [None] * kept
        self._generator = torch.Generator(device)

    def of(self, *key: int) -> BatchNoise:
        """The noise of a key (a seed, a step …): [rows, d_sae] for each piece of a batch that is asked for."""

        def piece(rows: slice) -> Tensor:
            number = rows.start // self._rows_each
            place = number % len(self._keys)
            if self._keys[place] != (*key, number):
                self._generator.manual_seed(torch_seed(*key, number))
                self._memory[place].normal_(generator=self._generator)
                self._keys[place] = (*key, number)
            return self._memory[place, : rows.stop - rows.start]

        return piece
