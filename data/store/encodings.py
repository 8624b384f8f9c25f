"""The encodings of float32 activations in a store: one class per stored type.

To add a type, write a subclass of `Encoding`, list it in `ENCODINGS`, and add its name to data/choices.py and to
FORMAT.md, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.choices import DTYPES, DType

VALUES = ""  # name suffix of a hook's main array


@dataclass(frozen=True)
class EncodedRows:
    """Rows as stored: values [n, d]; row scales, float32 [n] each, and channel scales, float32 [d] each, if any."""

    values: NDArray[Any]
    row_scales: tuple[NDArray[np.float32], ...] = ()
    channel_scales: tuple[NDArray[np.float32], ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> EncodedRows:
        return EncodedRows(self.values[rows], tuple(scale[rows] for scale in self.row_scales), self.channel_scales)


class Encoding:
    """A stored type: its arrays, and the conversion of rows to it and back.

    This class stores floats as they are; subclasses change what differs for them.
    """

    name: DType
    stored: np.dtype[Any]  # type of the values' array on disk
    fill: float | int = float("nan")  # the value of rows that were never written
    tensor: torch.dtype  # type of encoded values in PyTorch
    row_scales: tuple[str, ...] = ()  # name suffixes of the float32 arrays with one number per row
    channel_scales: tuple[str, ...] = ()  # name suffixes of the float32 arrays with one number per channel
    checked: str = VALUES  # name suffix of the array that gets NaN or infinity if the type cannot represent a row
    wider: str | None = None  # types to use instead for values beyond the largest of this one

    def stored_width(self, d: int) -> int:
        """Return how many numbers of the type `stored` a row of width d has."""
        return d

    def row_bytes(self, d: int) -> int:
        """Return the bytes of a row of width d, without scales."""
        return self.stored_width(d) * self.stored.itemsize

    @property
    def batch(self) -> np.dtype[Any]:
        """Type of the rows in a training batch, as NumPy has it."""
        return self.stored

    @property
    def largest(self) -> float:
        """The largest magnitude that a stored value can have."""
        return float(torch.finfo(self.tensor).max)

    def empty(self, n: int, d: int, *, pin: bool = False) -> dict[str, torch.Tensor]:
        """Return uninitialised memory for n encoded rows, in the form that `encode` returns; pinned for a GPU."""
        scales = {suffix: torch.empty((n, 1), dtype=torch.float32, pin_memory=pin) for suffix in self.row_scales}
        return {VALUES: torch.empty((n, self.stored_width(d)), dtype=self.tensor, pin_memory=pin)} | scales

    def encode(self, x: torch.Tensor, channel_scale: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Convert rows x, float32 [n, d] on any device, to the stored type.

        Returns array-name suffix → tensor: the values [n, stored_width(d)] under "", and each row scale, float32
        [n, 1], under its suffix. `channel_scale`, float32 [d], is needed by a type with channel scales. A row that the
        type cannot represent becomes NaN or infinite; `first_unstorable` finds it.
        """
        return {VALUES: x.to(self.tensor)}

    def first_unstorable(self, encoded: Mapping[str, torch.Tensor]) -> tuple[int, bool] | None:
        """Return the first encoded row that must not be stored, because a value is not finite; None if there is none.

        With it comes whether a value is NaN (else it is infinite).
        """
        values = encoded[self.checked]
        if is_finite(values):
            return None
        row = int((~torch.isfinite(values)).any(dim=1).int().argmax())
        return row, bool(values[row].isnan().any())

    def decode_tensor(
        self, encoded: Mapping[str, torch.Tensor], channel_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the values [n, d] of rows that `encode` returned, on their device; those that `decode` gives."""
        return encoded[VALUES]

    def decode(self, rows: EncodedRows) -> NDArray[Any]:
        """Return the rows' values, [n, d]: float16 or float32, without a copy if they are stored so."""
        return rows.values

    def to_tensor(self, rows: EncodedRows) -> torch.Tensor:
        """Return the rows' values as a tensor [n, d] of the type of training batches, without a copy if possible."""
        return self.view_batch(rows.values)

    def view_batch(self, batch: NDArray[Any]) -> torch.Tensor:
        """View an array of type `batch` as a tensor of the same memory."""
        return torch.from_numpy(batch)

    def gather(self, rows: EncodedRows, index: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy some of the rows into out [len(index), d], of type `batch`. The index must be in range."""
        rows.values.take(index, axis=0, out=out, mode="clip")


class Float32(Encoding):
    """float32, unchanged."""

    name: DType = "float32"
    stored = np.dtype("<f4")
    tensor = torch.float32


class Float16(Encoding):
    """IEEE half precision; values beyond 65,504 do not fit."""

    name: DType = "float16"
    stored = np.dtype("<f2")
    tensor = torch.float16
    wider = "bfloat16 (or float32)"


class BFloat16(Encoding):
    """The upper 16 bits of a float32, stored as uint16 because common Zarr readers do not open Zarr's bfloat16."""

    name: DType = "bfloat16"
    stored = np.dtype("<u2")
    fill = 0x7FC0  # the bits of NaN
    tensor = torch.bfloat16

    def decode(self, rows: EncodedRows) -> NDArray[np.float32]:
        return (rows.values.astype(np.uint32) << np.uint32(16)).view(np.float32)

    def view_batch(self, batch: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(batch).view(torch.bfloat16)


class Int8(Encoding):
    """Codes with two scales: x ≈ code × row_scale × channel_scale.

    channel_scale [d] is the channel's typical magnitude in the first contexts of a harvest. row_scale [n] gives the
    row's largest |x / channel_scale| the largest code. An outlier channel therefore costs the other channels no
    precision (FORMAT.md has the measured errors).
    """

    name: DType = "int8"
    stored: np.dtype[Any] = np.dtype("|i1")
    fill = 0  # the row scale is NaN
    tensor = torch.int8
    row_scales = (".row_scale",)
    channel_scales = (".channel_scale",)
    checked = ".row_scale"
    batch = np.dtype("<f4")
    largest = float(torch.finfo(torch.float32).max)
    largest_code = 127

    def encode(self, x: torch.Tensor, channel_scale: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        if channel_scale is None:
            raise ValueError(f"{self.name} needs the scales of the channels (channel_scales)")
        relative = x / channel_scale
        peak = relative.abs().amax(dim=1)
        row_scale = torch.where(peak == 0, torch.ones_like(peak), peak / self.largest_code)
        codes = (relative / row_scale[:, None]).round_().clamp_(-self.largest_code, self.largest_code)
        return {VALUES: self.pack(codes.to(torch.int8)), ".row_scale": row_scale[:, None]}

    def pack(self, codes: torch.Tensor) -> torch.Tensor:
        """Return codes, int8 [n, d], as stored: [n, stored_width(d)]."""
        return codes

    def unpack(self, values: NDArray[Any], d: int) -> NDArray[np.int8]:
        """Return the codes [n, d] of stored values [n, stored_width(d)]."""
        return values

    def unpack_tensor(self, values: torch.Tensor, d: int) -> torch.Tensor:
        """Do the same on tensors."""
        return values

    def decode_tensor(
        self, encoded: Mapping[str, torch.Tensor], channel_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        if channel_scale is None:
            raise ValueError(f"{self.name} needs the scales of the channels (channel_scales)")
        codes = self.unpack_tensor(encoded[VALUES], len(channel_scale))
        return codes.float() * encoded[".row_scale"] * channel_scale

    def decode(self, rows: EncodedRows) -> NDArray[np.float32]:
        (row_scale,), (channel_scale,) = rows.row_scales, rows.channel_scales
        return self.unpack(rows.values, len(channel_scale)).astype(np.float32) * row_scale[:, None] * channel_scale

    def to_tensor(self, rows: EncodedRows) -> torch.Tensor:
        return torch.from_numpy(self.decode(rows))

    def gather(self, rows: EncodedRows, index: NDArray[np.int64], out: NDArray[Any]) -> None:
        (row_scale,), (channel_scale,) = rows.row_scales, rows.channel_scales
        np.multiply(self.unpack(rows.values[index], len(channel_scale)), row_scale[index, None], out=out)
        np.multiply(out, channel_scale, out=out)


class Int4(Int8):
    """The same with codes of 4 bits, two in a byte: code + 8 of an even channel in the lower half."""

    name: DType = "int4"
    stored = np.dtype("|u1")
    tensor = torch.uint8
    largest_code = 7

    def stored_width(self, d: int) -> int:
        return (d + 1) // 2

    def pack(self, codes: torch.Tensor) -> torch.Tensor:
        halves = (torch.nn.functional.pad(codes, (0, codes.shape[1] % 2)) + 8).to(torch.uint8)
        return halves[:, 0::2] | halves[:, 1::2] << 4

    def unpack(self, values: NDArray[Any], d: int) -> NDArray[np.int8]:
        halves = np.stack([values & 15, values >> 4], axis=-1).reshape(len(values), -1)
        return halves[:, :d].view(np.int8) - np.int8(8)

    def unpack_tensor(self, values: torch.Tensor, d: int) -> torch.Tensor:
        halves = torch.stack([values & 15, values >> 4], dim=-1).flatten(1)
        return halves[:, :d].to(torch.int8) - 8


ENCODINGS: dict[DType, Encoding] = {
    encoding.name: encoding for encoding in (Float32(), Float16(), BFloat16(), Int8(), Int4())
}
assert tuple(ENCODINGS) == DTYPES


def channel_scales(x: torch.Tensor) -> torch.Tensor:
    """Return a typical magnitude of each channel of x: float32 [n, d] to float32 [d].

    It is the median of |x|. A root mean square would be set by the few rows with massive entries (above all those at
    position 0), and leave no codes for the channel's ordinary values. If the median is 0, it is the root mean square,
    and if that is 0 too, 1.
    """
    median = x.abs().median(dim=0).values
    rms = x.double().square().mean(dim=0).sqrt().float()
    scale = torch.where(median > 0, median, rms)
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def is_finite(values: torch.Tensor) -> bool:
    """Return whether all entries are finite: one pass without a temporary, since NaN and infinity are extremes."""
    low, high = torch.aminmax(values)
    return bool(torch.isfinite(low) & torch.isfinite(high))


def as_stored(values: torch.Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    """View a tensor in host memory as an array of a stored type, which NumPy may lack (bfloat16)."""
    return values.contiguous().view(torch.uint8).numpy().view(dtype)
