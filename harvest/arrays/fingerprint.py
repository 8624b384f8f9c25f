"""A fingerprint of large files: their names and sizes, and samples of their bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from data.system.reading import naming

SAMPLES, SAMPLE_BYTES = 64, 1 << 16  # of each file, evenly spaced, the first and the last included


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file, or of the files in a folder, in hexadecimal; of large files, of samples.

    A file that is read whole would be read twice. Raises InputError if one cannot be read.
    """
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with naming(file), open(file, "rb") as opened:
                size = file.stat().st_size
                name = "" if file == path else file.relative_to(path).as_posix()
                digest.update(f"{name}\0{size}\0".encode())
                last = max(size - SAMPLE_BYTES, 0)
                for offset in sorted({last * i // (SAMPLES - 1) for i in range(SAMPLES)}):
                    opened.seek(offset)
                    digest.update(opened.read(SAMPLE_BYTES))
    return digest.hexdigest()
