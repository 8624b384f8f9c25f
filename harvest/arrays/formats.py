"""Arrays of .npy, .safetensors and .zarr: mapped into memory or read chunk by chunk. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from safetensors import safe_open

from data.system.reading import naming
from harvest.arrays.array import ArrayInFile

SAFE_TYPES = {
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64, "I8": torch.int8,
    "U8": torch.uint8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64,
}  # fmt: skip
NUMPY_TYPES: dict[np.dtype[Any], torch.dtype] = {
    np.dtype(name): getattr(torch, name)
    for name in ("float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64")
}
BFLOAT16 = np.dtype("V2")  # as ml_dtypes saves it; NumPy has no such type
UNSIGNED: dict[np.dtype[Any], np.dtype[Any]] = {
    np.dtype("u2"): np.dtype("i4"),
    np.dtype("u4"): np.dtype("i8"),
}  # PyTorch has few unsigned types
# Codecs of Zarr that run no code of the file; numcodecs also has one that unpickles.
CODECS = {
    "bytes", "crc32c", "gzip", "zstd", "blosc", "transpose", "sharding_indexed", "zlib", "lz4", "bz2", "lzma",
    "shuffle", "delta",
}  # fmt: skip


@dataclass(frozen=True)
class NumpyArray:
    """An array that NumPy or Zarr reads in parts."""

    path: Path
    values: Any  # a memory map, or an array of Zarr
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def read(self, first: int, last: int) -> torch.Tensor:
        """See `ArrayInFile.read`."""
        with naming(self.path):
            return as_tensor(np.ascontiguousarray(self.values[first:last]), self.dtype)


@dataclass(frozen=True)
class SafetensorsArray:
    """A tensor of a .safetensors file."""

    path: Path
    values: Any  # a slice of safetensors
    shape: tuple[int, ...]
    dtype: torch.dtype

    def read(self, first: int, last: int) -> torch.Tensor:
        """See `ArrayInFile.read`."""
        with naming(self.path):
            part: torch.Tensor = self.values[first:last]
            return part


def as_tensor(values: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """Return an array as a tensor of memory of its own."""
    if values.dtype == BFLOAT16:
        return torch.from_numpy(values.view(np.int16).copy()).view(torch.bfloat16)
    native = values.dtype.newbyteorder("=")
    return torch.from_numpy(values.astype(UNSIGNED.get(native, native))).to(dtype)


def tensor_type(dtype: Any) -> torch.dtype:
    """Return the type of the tensors of an array. Raises ValueError if it has no numbers."""
    dtype = np.dtype(dtype)
    if dtype == BFLOAT16:
        return torch.bfloat16
    native = dtype.newbyteorder("=")
    native = UNSIGNED.get(native, native)
    if native not in NUMPY_TYPES:
        raise ValueError(f"its type is {dtype}; give float16, bfloat16 or float32, and whole numbers for tokens")
    return NUMPY_TYPES[native]


def read_npy(path: Path) -> dict[str, ArrayInFile]:
    """Return the array of a .npy file, mapped into memory, under the file's name. Raises InputError."""
    with naming(path):
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(values, np.ndarray):
            values.close()
            raise ValueError("it is an archive of several arrays; save each as .npy or .safetensors")
        return {path.stem: NumpyArray(path, values, tensor_type(values.dtype))}


def read_safetensors(path: Path) -> dict[str, ArrayInFile]:
    """Return the tensors of a .safetensors file by name. Raises InputError."""
    arrays: dict[str, ArrayInFile] = {}
    with naming(path):
        file: Any = safe_open(path, framework="pt")  # it stays open while a slice does
        for name in file.keys():  # noqa: SIM118
            values = file.get_slice(name)
            if values.get_dtype() not in SAFE_TYPES:
                raise ValueError(f"the type of {name} is {values.get_dtype()}; give float16, bfloat16 or float32")
            arrays[name] = SafetensorsArray(path, values, tuple(values.get_shape()), SAFE_TYPES[values.get_dtype()])
    return arrays


def read_zarr(path: Path) -> dict[str, ArrayInFile]:
    """Return the array of a Zarr folder under its name, or those of a group by their paths in it. Raises InputError."""
    with naming(path):
        opened = zarr.open(path, mode="r")
        if isinstance(opened, zarr.Array):
            return {path.stem: _zarr_array(path, opened)}
        if opened.attrs.get("format") == "activation-store":
            raise ValueError("it is an activation store already; give it to `train --store`")
        members = sorted(opened.members(max_depth=None))
        return {name: _zarr_array(path / name, member) for name, member in members if isinstance(member, zarr.Array)}


def _zarr_array(path: Path, array: zarr.Array[Any]) -> ArrayInFile:
    unknown = sorted(set(_codec_names(array.metadata.to_dict())) - CODECS)
    if unknown:
        raise ValueError(f"its codec {unknown[0][:80]!r} is not read; save it with {', '.join(sorted(CODECS)[:4])} …")
    if array.shards is None and array.nchunks_initialized < array.nchunks:
        lacking = array.nchunks - array.nchunks_initialized
        raise ValueError(f"it lacks {lacking:,} of its {array.nchunks:,} chunks, so some rows were never written")
    return NumpyArray(path, array, tensor_type(array.dtype))


def _codec_names(value: Any, *, below: bool = False) -> Iterator[str]:
    """Yield the names of all codecs in an array's metadata, also those in others."""
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _codec_names(part, below=below)
    elif isinstance(value, dict):
        if below and isinstance(name := value.get("name", value.get("id")), str):
            yield name.removeprefix("numcodecs.")
        for key, part in value.items():
            inside = key in ("codecs", "index_codecs", "filters", "compressor", "compressors")
            yield from _codec_names(part, below=inside) if inside or key == "configuration" else ()
