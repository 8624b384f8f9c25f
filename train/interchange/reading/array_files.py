"""Read tensors of .npz and .safetensors files, and entries of JSON objects, that strangers wrote."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from data.errors import InputError
from data.system.reading import naming

T = TypeVar("T")
INFLATION = 100  # times its own size, what a compressed file may hold: weights hardly shrink


def entry(config: dict[str, Any], name: str, kind: type[T], path: Path, default: T | None = None) -> T:
    """Return an entry of a JSON object. Raises InputError if it is missing without a default, or of another type."""
    value = config.get(name)
    value = default if value is None else value
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**63 else None
    if type(value) is not kind:
        raise InputError(f"{path}: its entry {name} is not of type {kind.__name__}")
    return value


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file by name. Raises InputError."""
    with naming(path), safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def read_npz(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a .npz file by name; none is unpickled. Raises InputError."""
    with naming(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > INFLATION * path.stat().st_size + (1 << 20):
            raise ValueError("it unpacks to far more than weights do")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.array(arrays[name])) for name in arrays.files}
