"""Arrays in files, of which parts are read, so that an array may be larger than memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from data.errors import InputError

FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


class ArrayInFile(Protocol):
    """An array in a file."""

    @property
    def path(self) -> Path:
        """The file, or the first of several."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of its axes."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of its parts."""

    def read(self, first: int, last: int) -> torch.Tensor:
        """Return the entries `first` to `last` − 1 of axis 0, in memory. Raises InputError if they cannot be read."""


@dataclass(frozen=True)
class JoinedArrays:
    """Arrays that follow one another along axis 0. They have the same type and the same other axes."""

    parts: Sequence[ArrayInFile]

    def __post_init__(self) -> None:
        first = self.parts[0]
        for part in self.parts:
            if (part.shape[1:], part.dtype) != (first.shape[1:], first.dtype):
                raise InputError(
                    f"{part.path}: has the shape {list(part.shape)} in {name_of(part.dtype)}, and {first.path} "
                    f"{list(first.shape)} in {name_of(first.dtype)}; parts of one array differ in axis 0 only"
                )

    @property
    def path(self) -> Path:
        return self.parts[0].path

    @property
    def dtype(self) -> torch.dtype:
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    def read(self, first: int, last: int) -> torch.Tensor:
        """See `ArrayInFile.read`."""
        pieces, begin = [], 0
        for part in self.parts:
            low, high = max(first - begin, 0), min(last - begin, part.shape[0])
            if low < high:
                pieces.append(part.read(low, high))
            begin += part.shape[0]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def name_of(dtype: torch.dtype) -> str:
    """Return a type's name, such as `float16`."""
    return str(dtype).removeprefix("torch.")


def read_whole_numbers(array: ArrayInFile, option: str) -> torch.Tensor:
    """Return an array of whole numbers from −1 to 2³¹ − 1: int32 of its shape. Raises InputError, naming the option."""
    if array.dtype.is_floating_point or array.dtype == torch.bool or not 1 <= len(array.shape) <= 2:
        raise InputError(
            f"{option}: {array.path} has the shape {list(array.shape)} in {name_of(array.dtype)}; give whole numbers "
            "[contexts, tokens] or [rows]"
        )
    values = array.read(0, array.shape[0]) if array.shape[0] else torch.empty(array.shape, dtype=array.dtype)
    values = values.to(torch.int64)
    if values.numel() and not (int(values.min()) >= -1 and int(values.max()) <= np.iinfo(np.int32).max):
        raise InputError(f"{option}: {array.path} has numbers below -1 or above 2³¹ − 1; correct it")
    return values.to(torch.int32)
