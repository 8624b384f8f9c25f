"""How fast is a window sealed?  python benchmarks/seal.py

Sealing reads each shard of a filled window once, for its checksum and its rows' statistics, and renames it into the
store. Windows of made-up rows (the real writer, pages still cached) are sealed in turn by 1, 2, 4, … threads up to the
machine's cores; `harvest` takes half of the cores. Beside it the checksum and the statistics alone, by one thread.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from _measure import report, seconds
from _store import CONTEXT, D, empty_store, filled_window

from data.choices import DType
from data.store.chunks import blocks, crc32c
from data.store.encodings import ENCODINGS
from data.store.stats import Accumulator
from data.store.writing import window_writer
from data.system.limits import cpus

LAYERS, PART_BYTES = 12, 256 << 20


def token_bytes(dtype: DType) -> int:
    return LAYERS * D * ENCODINGS[dtype].stored.itemsize


def sealing(threads: int, shards: int, dtype: DType, folder: str | None) -> float:
    """GB/s of sealing a window of so many shards, each as large as in a store of 100 GB."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as place,
        mock.patch.object(window_writer, "transfers", return_value=threads),
    ):
        path = Path(place) / "store.zarr"
        schema = empty_store(path, LAYERS, 100, dtype, shards_per_window=shards)
        window = filled_window(path, schema, schema.layout.n_windows // 2)  # has no padding
        n_rows = schema.layout.window_rows(window.window)
        return n_rows * token_bytes(dtype) / 1e9 / seconds(window.seal)


def parts(dtype: DType) -> dict[str, float]:
    """GB/s of one thread: the checksum, the statistics."""
    stored = ENCODINGS[dtype].stored
    rows = np.random.default_rng(0).normal(size=(PART_BYTES // stored.itemsize // D, D)).astype(stored)
    first = np.zeros(len(rows), dtype=bool)
    first[::CONTEXT] = True

    def checksums() -> None:
        value = 0
        for block in blocks(rows):
            value = crc32c(block, value)

    def sums() -> None:
        accumulator, begin = Accumulator(D), 0
        for block in blocks(rows):
            accumulator.add(block, first[begin : begin + len(block)])
            begin += len(block)
        accumulator.stats()

    return {name: rows.nbytes / 1e9 / seconds(work) for name, work in (("checksum", checksums), ("statistics", sums))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, help="in a window, of some 300 MB each; by default 4, or one a thread")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="where the stores are written (a temporary folder by default)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    args = parser.parse_args()
    shards = args.shards or max(4, cpus())
    rates: dict[tuple[DType, str], list[float]] = defaultdict(list)
    dtypes: tuple[DType, ...] = ("float16", "float32")
    for _ in range(args.repeats):
        for dtype in dtypes:
            for name, rate in parts(dtype).items():
                rates[dtype, f"{name}, by 1"].append(rate)
            for threads in (2**i for i in range(cpus().bit_length())):
                rates[dtype, f"sealing, by {threads}"].append(sealing(threads, shards, dtype, args.folder))
    rows: list[dict[str, Any]] = []
    for (dtype, what), found in rates.items():
        rate = statistics.median(found)
        tokens = 1e9 * rate / token_bytes(dtype)
        rows.append({"rows": dtype, "what, by threads": what, "GB/s": rate, "tokens/s": tokens})
    report({"benchmark": "seal", "shards": shards, "repeats": args.repeats, "d": D, "layers": LAYERS}, rows, args.out)


if __name__ == "__main__":
    main()
