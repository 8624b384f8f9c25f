"""How float32 activations are stored: float32, float16, bfloat16 as bits, or int8 codes with two scales.

int8: x ≈ code × row_scale × channel_scale, where channel_scale [d] is the channel's typical magnitude on the first
contexts of the harvest and row_scale [n_rows] makes the row's largest |x / channel_scale| the code 127. Outlier
channels then cost the others nothing (FORMAT.md has the measured errors).

Not here: files (chunks.py, staging.py).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

DType = Literal["float32", "float16", "bfloat16", "int8"]
DTYPES: tuple[DType, ...] = get_args(DType)

_STORED = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int8": "|i1"}
_TORCH = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "int8": torch.int8}
BFLOAT16_NAN = 0x7FC0


def stored_dtype(dtype: DType) -> np.dtype[Any]:
    """The array's type on disk; bfloat16's bits are stored as uint16."""
    return np.dtype(_STORED[dtype])


def torch_dtype(dtype: DType) -> torch.dtype:
    return _TORCH[dtype]


def fill_value(dtype: DType) -> float | int:
    """What rows that were never written read as: NaN (int8 has it in `row_scale`, bfloat16 as bits)."""
    return {"float32": float("nan"), "float16": float("nan"), "bfloat16": BFLOAT16_NAN, "int8": 0}[dtype]


def largest(dtype: DType) -> float:
    """The largest magnitude that a stored value can have."""
    return float(torch.finfo(torch.float32 if dtype == "int8" else _TORCH[dtype]).max)


def channel_scales(x: torch.Tensor) -> torch.Tensor:
    """A typical magnitude of each channel of x: float32 [n, d] to float32 [d].

    The median of |x|: a root mean square is set by the few rows with massive entries (those at position 0 above all),
    and then leaves no codes for the channel's ordinary values. Where the median is 0, the root mean square; else 1.
    """
    median = x.abs().median(dim=0).values
    rms = x.double().square().mean(dim=0).sqrt().float()
    scale = torch.where(median > 0, median, rms)
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def encode(
    x: torch.Tensor, dtype: DType, channel_scale: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Convert rows to a storage type: x float32 [n, d], on any device; `channel_scale` [d] is needed for int8.

    Returns (values [n, d] in the storage type, row_scale float32 [n] for int8). What does not fit comes out as NaN or
    infinite, for int8 in `row_scale`: the caller must look (`is_finite`).
    """
    if dtype != "int8":
        return x.to(_TORCH[dtype]), None
    assert channel_scale is not None, "int8 needs channel scales"
    relative = x / channel_scale
    peak = relative.abs().amax(dim=1)
    row_scale = torch.where(peak == 0, torch.ones_like(peak), peak / 127)
    values = (relative / row_scale[:, None]).round_().clamp_(-127, 127).to(torch.int8)
    return values, row_scale


def is_finite(values: torch.Tensor) -> bool:
    """Whether all entries are finite, in one pass without a temporary: NaN and infinities spread to the extremes."""
    low, high = torch.aminmax(values)
    return bool(torch.isfinite(low) & torch.isfinite(high))


def decode_int8(
    codes: NDArray[np.int8], row_scale: NDArray[np.float32], channel_scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """codes [n, d], row_scale [n], channel_scale [d] to float32 [n, d]."""
    return codes.astype(np.float32) * row_scale[:, None] * channel_scale


def as_torch(stored: NDArray[Any], dtype: DType) -> torch.Tensor:
    """View stored float rows as a tensor of the type they stand for, without a copy."""
    tensor = torch.from_numpy(stored)
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor


def as_float(stored: NDArray[Any], dtype: DType) -> NDArray[Any]:
    """Stored float rows as values: the same memory for float16 and float32, float32 for bfloat16."""
    if dtype == "bfloat16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return stored
