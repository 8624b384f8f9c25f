"""Are files written faster if they are preallocated, or past the page cache?  python benchmarks/store/write_modes.py

Files as large as a shard are written in turn in four ways, with a sync at the end: through the page cache as `harvest`
writes, preallocated by posix_fallocate, with O_DIRECT, and with both. O_DIRECT is left out where the file system
refuses it, such as one in memory.
"""

from __future__ import annotations

import argparse
import itertools
import mmap
import os
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared.measure import report, seconds

FILE_BYTES, PIECE = 24 << 20, 4 << 20  # multiples of the 4096 bytes that O_DIRECT needs
MODES = {
    "page cache": (False, False), "preallocated": (True, False), "O_DIRECT": (False, True),
    "preallocated, O_DIRECT": (True, True),
}  # fmt: skip


def write(folder: Path, n_files: int, threads: int, *, preallocate: bool, direct: bool) -> None:
    """Write and sync files of random bytes on `threads`. Raises OSError if the file system refuses O_DIRECT."""
    aligned = mmap.mmap(-1, PIECE)  # O_DIRECT needs memory that begins with a page
    aligned.write(np.random.default_rng(0).bytes(PIECE))

    def one(number: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_DIRECT if direct else 0)
        descriptor = os.open(folder / str(number), flags, 0o600)
        if preallocate:
            os.posix_fallocate(descriptor, 0, FILE_BYTES)
        for offset in range(0, FILE_BYTES, PIECE):
            os.pwrite(descriptor, aligned, offset)
        os.fdatasync(descriptor)
        os.close(descriptor)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(n_files)))


def turn(place: str | None, n_files: int, threads: int, mode: str) -> float | None:
    """Return GB/s in one mode; None if the file system refuses it."""
    preallocate, direct = MODES[mode]
    with tempfile.TemporaryDirectory(dir=place) as folder:
        try:
            taken = seconds(lambda: write(Path(folder), n_files, threads, preallocate=preallocate, direct=direct))
        except OSError:
            return None
    return n_files * FILE_BYTES / 1e9 / taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1, help="bytes per turn")
    parser.add_argument("--threads", default="1,2", help="counts of threads")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="where the files are written (a temporary folder by default)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    n_files = max(1, round(options.gigabytes * 1e9 / FILE_BYTES))
    cases = list(itertools.product([int(n) for n in options.threads.split(",")], MODES))
    rates: dict[tuple[int, str], list[float]] = {case: [] for case in cases}
    for _ in range(options.repeats):
        for case in cases:
            rate = turn(options.folder, n_files, *case)
            if rate is not None:
                rates[case].append(rate)
    rows: list[dict[str, Any]] = [
        {"threads": threads, "written": mode, "GB/s": statistics.median(of_mode),
         "over the page cache": statistics.median(
             rate / cached for rate, cached in zip(of_mode, rates[threads, "page cache"], strict=True))}
        for (threads, mode), of_mode in rates.items() if of_mode
    ]  # fmt: skip
    report({"benchmark": "write_modes", "gigabytes": options.gigabytes, "repeats": options.repeats}, rows, options.out)


if __name__ == "__main__":
    main()
