"""The speed at which the disk of a store takes rows, measured by writing some, through the page cache and past it."""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.store.schema import Schema
from data.store.writing.appended_files import AppendedFiles, BufferedFiles, DirectFiles
from data.store.writing.lifecycle import staging_path
from data.store.writing.staged_files import sync_file
from data.system.location import Location, is_local

MOST_BYTES, MOST_SECONDS = 1 << 30, 3.0
SHARE = 20  # of the store's bytes, one in so many is written
FEWEST_BYTES = 64 << 20  # fewer tell nothing of a disk
PIECE_BYTES = 4 << 20
DIRECT_GAIN = 1.25  # direct writes are chosen if they cost so many times less; what they write is in no page cache


@dataclass(frozen=True)
class WriteSpeed:
    """The speed of a disk in bytes per second, and the kind of files that it takes at this speed."""

    bytes_per_second: float
    files: Callable[[], AppendedFiles]


def write_speed(out: Location, schema: Schema, threads: int, keep: int | None) -> WriteSpeed | None:
    """Measure the speed of writing and syncing files on the disk of a store's unfinished parts.

    At most a gigabyte is written, on `threads`, in at most three seconds before the syncs, and removed again. Returns
    None for a store that is too small, or where nothing can be written. A training reads the rows of a store with
    --keep soon, and an upload those of one in object storage, so they go through the page cache.

    keep: the most bytes of the store on the disk at once; None: all of it.
    """
    n_bytes = min(MOST_BYTES, schema.total_bytes() // SHARE)
    folder = staging_path(out).absolute()
    while not folder.exists():
        folder = folder.parent
    if n_bytes < FEWEST_BYTES:
        return None
    kinds: list[Callable[[], AppendedFiles]] = [BufferedFiles]
    if is_local(out) and keep is None:
        kinds.append(DirectFiles)
    measured = [_measure(folder, n_bytes // len(kinds), MOST_SECONDS / len(kinds), threads, kind) for kind in kinds]
    (buffered, buffered_cost), (direct, direct_cost) = measured[0], measured[-1]
    if DIRECT_GAIN * direct_cost < buffered_cost:
        return WriteSpeed(direct, DirectFiles)
    return WriteSpeed(buffered, BufferedFiles) if buffered else None


def _measure(
    folder: Path, n_bytes: int, most_seconds: float, threads: int, kind: Callable[[], AppendedFiles]
) -> tuple[float, float]:
    """Return bytes per second, and the cost of a byte; 0 and ∞ where nothing is written, or not in time.

    The cost is the time that passes and, because a harvest needs the cores too, the CPU time of each thread, in
    seconds. Copies into the page cache take a core; direct writes leave it to the other stages.
    """
    piece = memoryview(np.random.default_rng(0).bytes(PIECE_BYTES))
    pieces, files = itertools.count(), kind()

    def write(path: Path) -> int:
        written = 0
        while next(pieces) * PIECE_BYTES < n_bytes and time.perf_counter() - begin < most_seconds:
            files.append(path, piece, written)
            written += PIECE_BYTES
        if written:
            sync_file(path)
        return written

    try:
        with (
            tempfile.TemporaryDirectory(prefix=".write-speed-", dir=folder) as place,
            ThreadPoolExecutor(threads) as pool,
        ):
            begin, used = time.perf_counter(), time.process_time()
            written = sum(pool.map(write, [Path(place) / str(number) for number in range(threads)]))
            seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - used
    except OSError:
        return 0.0, math.inf
    return written / seconds, (seconds + cpu_seconds / threads) / written if written else math.inf
