"""A cache of partial measurements next to the report, so an interrupted command resumes.

Each pass over an SAE has a file of its own, so a report to which a run is added measures that run alone. The name of a
file is a hash of everything that its numbers depend on: the measurement, the format of these files, the device, and the
versions of PyTorch and NumPy. A file of another format, device or version is therefore never read. Nothing is pickled
or unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import write_array
from numpy.typing import NDArray

from data.system.location import write_file

FORMAT = 4  # raise it when the files, or the numbers in them, change for an unchanged key

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class MeasurementCache:
    """Arrays by key, one file per key in `folder`; without a folder, nothing is saved."""

    folder: Path | None = None

    def load(self, key: Any) -> dict[str, NDArray[Any]] | None:
        """Return the arrays saved under a key; None if there are none, or their file is damaged."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (ValueError, OSError, zipfile.BadZipFile):
            return None

    def save(self, key: Any, arrays: Arrays) -> None:
        """Save arrays under a key, replacing earlier ones.

        key: everything that the arrays depend on, in JSON's types.

        Raises ValueError for an array of objects, which could only be pickled.
        """
        path = self._path(key)
        if path is not None:
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                        write_array(part, np.asarray(array), allow_pickle=False)
            write_file(path, file.getvalue())

    def clear(self) -> None:
        """Remove all files."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, key: Any) -> Path | None:
        if self.folder is None:
            return None
        whole = [FORMAT, torch.__version__, np.__version__, key]
        name = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]
        return self.folder / f"{name}.npz"


def device_identity(device: torch.device | str) -> list[str]:
    """Return a device in JSON's types: its kind, and the GPU's name or the CPU's architecture."""
    kind = torch.device(device).type
    return [kind, torch.cuda.get_device_name(device) if kind == "cuda" else platform.machine()]


NO_CACHE = MeasurementCache()
