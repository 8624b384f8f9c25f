"""Datasets in Arrow's format, as SAELens's CacheActivationsRunner writes them: a folder that `datasets` loads.

    dataset_info.json   the columns: per hook an Array2D [context size, d]; token_ids [context size]
    state.json          the names of the Arrow files, in order
    data-….arrow        a row per context

The files are mapped into memory. They are read without `datasets`, so no type that a file names is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from data.errors import InputError
from data.system.reading import naming, read_json
from harvest.arrays.array import ArrayInFile

INFO, STATE = "dataset_info.json", "state.json"
RUNNER = "cache_activations_runner_cfg.json"  # the runner's settings, if they are beside the dataset
TYPES = {
    "float16": torch.float16, "float32": torch.float32, "float64": torch.float64, "int32": torch.int32,
    "int64": torch.int64,
}  # fmt: skip


def is_dataset(folder: Path) -> bool:
    """Return whether a folder holds a saved dataset."""
    return (folder / INFO).is_file() and (folder / STATE).is_file()


@dataclass(frozen=True)
class ArrowColumn:
    """A column of Arrow files with nested lists of the lengths `inner`: an array [rows, *inner]."""

    files: Sequence[Path]
    name: str
    inner: tuple[int, ...]
    dtype: torch.dtype

    @property
    def path(self) -> Path:
        return self.files[0]

    @cached_property
    def _values(self) -> pa.ChunkedArray:
        chunks: list[pa.Array] = []
        for file in self.files:
            with naming(file):
                table = pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
                for chunk in table.column(self.name).chunks:
                    chunks.append(chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk)
        if not chunks:
            raise InputError(f"{self.path}: has no rows")
        return pa.chunked_array(chunks)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._values), *self.inner)

    def read(self, first: int, last: int) -> torch.Tensor:
        """See `ArrayInFile.read`."""
        with naming(self.path):
            parts = [self._numbers(chunk) for chunk in self._values.slice(first, last - first).chunks if len(chunk)]
            return torch.from_numpy(np.concatenate(parts)).to(self.dtype)

    def _numbers(self, chunk: Any) -> np.ndarray[Any, Any]:
        """Return the numbers of rows: [rows, *inner]. Raises ValueError if a list has another length."""
        chunk.validate(full=True)  # offsets beyond the file would end the process
        shape, values = (len(chunk), *self.inner), chunk
        for _ in self.inner:
            if values.null_count:
                raise ValueError(f"{self.name} has null entries")
            values = values.flatten()
        if values.null_count or len(values) != np.prod(shape):
            raise ValueError(f"{self.name} has rows of other lengths than {list(self.inner)}")
        return np.array(values.to_numpy(zero_copy_only=False)).reshape(shape)


def read_dataset(folder: Path) -> dict[str, ArrayInFile]:
    """Return the columns of activations and `token_ids` by name. Raises InputError."""
    state, info = read_json(folder / STATE), read_json(folder / INFO)
    names = [file.get("filename") if isinstance(file, dict) else None for file in state.get("_data_files") or ()]
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise InputError(f"{folder / STATE}: names no Arrow files in its folder")
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise InputError(f"{folder / STATE}: selects rows by other files; save the dataset again with save_to_disk")
    features = info.get("features")
    columns: dict[str, ArrayInFile] = {}
    for name, feature in (features if isinstance(features, dict) else {}).items():
        known = _inner(feature)
        if known is not None:
            columns[name] = ArrowColumn([folder / str(file) for file in names], name, *known)
    if not any(len(column.shape) == 3 for column in columns.values()):
        raise InputError(f"{folder / INFO}: has no column of activations (Array2D [context size, d])")
    return columns


def names_of(folder: Path) -> tuple[str | None, str | None]:
    """Return the names of the model and of the data that the runner's settings have. Raises InputError."""
    settings = read_json(folder / RUNNER) if (folder / RUNNER).is_file() else {}
    model, data = settings.get("model_name"), settings.get("dataset_path")
    return (model if isinstance(model, str) and model else None, data if isinstance(data, str) and data else None)


def _inner(feature: Any) -> tuple[tuple[int, ...], torch.dtype] | None:
    """Return the lengths and the type of a column's entries; None if they are not arrays of numbers."""
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") == "Array2D":
        lengths, dtype = feature.get("shape"), feature.get("dtype")
    else:
        value = feature.get("feature")
        lengths, dtype = [feature.get("length")], value.get("dtype") if isinstance(value, dict) else None
    if not isinstance(lengths, list) or not all(type(n) is int and n > 0 for n in lengths) or dtype not in TYPES:
        return None
    return tuple(lengths), TYPES[dtype]
