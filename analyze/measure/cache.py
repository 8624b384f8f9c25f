"""What a long measurement has so far, kept beside a report until that is written: the same command goes on from there.

A piece is a file, named by a hash of all that its numbers depend on: the measurement, the format of the pieces, the
device, and the versions of the libraries that compute. A piece of another format, device or version is therefore never
read. Nothing is pickled or unpickled.

Not here: what is measured.
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

FORMAT = 2  # to be raised when pieces, or the numbers in them, change for one and the same measurement

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class MeasurementCache:
    """Pieces in a folder; without one, nothing is kept."""

    folder: Path | None = None

    def load(self, about: Any) -> dict[str, NDArray[Any]] | None:
        """The arrays of a piece; None where there is none, or it is damaged."""
        path = self._path(about)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as found:
                return dict(found)
        except (ValueError, OSError, zipfile.BadZipFile):
            return None

    def save(self, about: Any, arrays: Arrays) -> None:
        """Keep a piece in place of the one there was; `about`, in JSON's types, is all that it depends on.

        Raises ValueError for an array of objects, which could only be pickled.
        """
        path = self._path(about)
        if path is not None:
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                        write_array(part, np.asarray(array), allow_pickle=False)
            write_file(path, file.getvalue())

    def clear(self) -> None:
        """Remove all pieces."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, about: Any) -> Path | None:
        if self.folder is None:
            return None
        whole = [FORMAT, torch.__version__, np.__version__, about]
        name = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]
        return self.folder / f"{name}.npz"


def device_identity(device: torch.device | str) -> list[str]:
    """A device in JSON's types: its kind, and the GPU's name or the CPU's architecture."""
    kind = torch.device(device).type
    return [kind, torch.cuda.get_device_name(device) if kind == "cuda" else platform.machine()]


NO_CACHE = MeasurementCache()
