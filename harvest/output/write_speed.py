"""The speed at which the disk of a store takes rows, measured by writing some."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from data.store.schema import Schema
from data.store.writing.lifecycle import staging_path
from data.system.location import Location, sync_data

MOST_BYTES, MOST_SECONDS = 1 << 30, 3.0
SHARE = 20  # of the store's bytes, one in so many is written
FEWEST_BYTES = 64 << 20  # fewer tell nothing of a disk
PIECE_BYTES = 4 << 20


def write_speed(out: Location, schema: Schema, threads: int) -> float | None:
    """Measure the speed of writing and syncing files on the disk of a store's unfinished parts, in bytes per second.

    At most a gigabyte is written, on `threads`, in at most three seconds before the sync, and removed again. Returns
    None for a store that is too small, or where nothing can be written.
    """
    n_bytes = min(MOST_BYTES, schema.total_bytes() // SHARE)
    folder = staging_path(out).absolute()
    while not folder.exists():
        folder = folder.parent
    if n_bytes < FEWEST_BYTES:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix=".write-speed-", dir=folder) as place:
            return _measure(Path(place), n_bytes, threads)
    except OSError:
        return None


def _measure(folder: Path, n_bytes: int, threads: int) -> float:
    piece = np.random.default_rng(0).integers(0, 256, PIECE_BYTES, dtype=np.uint8).data
    pieces = itertools.count()
    begin = time.perf_counter()

    def write(number: int) -> int:
        written = 0
        with open(folder / str(number), "wb", buffering=0) as file:
            while next(pieces) * PIECE_BYTES < n_bytes and time.perf_counter() - begin < MOST_SECONDS:
                written += os.write(file.fileno(), piece)
            sync_data(file.fileno())
        return written

    with ThreadPoolExecutor(threads) as pool:
        written = sum(pool.map(write, range(threads)))
    return written / (time.perf_counter() - begin)
