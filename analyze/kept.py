"""What a long measurement has so far, kept beside a report until that is written: the same command goes on from there.

A piece is a file, named by a hash of all that its numbers depend on; what is found under that name is what would be
measured again. Nothing is unpickled.

Not here: what is measured.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.location import write_file

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Kept:
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
        """Keep a piece in place of the one there was; `about`, in JSON's types, is all that it depends on."""
        path = self._path(about)
        if path is not None:
            file = io.BytesIO()
            np.savez(file, allow_pickle=False, **arrays)
            write_file(path, file.getvalue())

    def clear(self) -> None:
        """Remove all pieces."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, about: Any) -> Path | None:
        if self.folder is None:
            return None
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
        return self.folder / f"{name}.npz"


NOTHING = Kept()
