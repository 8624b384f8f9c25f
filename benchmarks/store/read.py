"""How fast does the stream deliver batches?  python benchmarks/store/read.py

A store of 4 GB or more is written (made-up values, the real writer), then read once so that it is in the page cache.
In turn, several times: the shuffled stream's batches; a plain copy of as many stored bytes, front to back, out of maps
whose pages are present, into as much memory, with as many threads as the stream gathers with; and, for a few batches,
zarr-python's own indexing of the same rows. The stream mixes as many shards as it does by default, and the mixing
figure of the store is printed. The stream's first epoch is not counted: it maps the files.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
import zarr

from benchmarks.shared.made_store import D, empty_store, filled_window
from benchmarks.shared.measure import report, seconds, summary
from data import ShuffledStream, Store, open_store
from data.shuffle.stream import DEFAULT_POOL, read_threads, training_order
from data.store.writing.lifecycle import finish
from data.summary import store_mixing

BATCH = 4096
READ_THREADS = read_threads()
BLOCK = BATCH * D * 2  # bytes that one copy moves


def write_store(path: Path, n_layers: int, gigabytes: float) -> Store:
    schema = empty_store(path, n_layers, gigabytes)
    for window in range(schema.layout.n_windows):
        filled_window(path, schema, window).seal()
    finish(path)
    return open_store(path)


def copy_maps(maps: list[np.ndarray], target: np.ndarray, n_bytes: int, pool: ThreadPoolExecutor) -> None:
    """Copy `n_bytes` front to back, over and over, round and round into `target`, each block by all threads."""
    done, at = 0, 0
    while done < n_bytes:
        for source in maps:
            for begin in range(0, len(source) - BLOCK + 1, BLOCK):
                at = at if at + BLOCK <= len(target) else 0
                pieces = [
                    slice(i * BLOCK // READ_THREADS, (i + 1) * BLOCK // READ_THREADS) for i in range(READ_THREADS)
                ]
                goals = [target[at : at + BLOCK][piece] for piece in pieces]
                list(pool.map(np.copyto, goals, [source[begin : begin + BLOCK][piece] for piece in pieces]))
                done, at = done + BLOCK, at + BLOCK
                if done >= n_bytes:
                    return


def read_stream(stream: ShuffledStream, batches: int) -> None:
    for _ in range(batches):
        next(stream)


def read_zarr(store: Store, batches: int) -> None:
    order, members = training_order(store, pool=DEFAULT_POOL, seed=0)
    arrays = [zarr.open_array(store.path / hook, mode="r") for hook in store.hooks]
    for step in range(batches):
        for part in order.batch(step, BATCH):
            rows = np.array(members)[part.shards] * store.layout.rows_per_shard + part.rows
            for array in arrays:
                array.oindex[rows, :]


def measure(n_layers: int, gigabytes: float, repeats: int, folder: str) -> dict[str, float]:
    store = write_store(Path(folder) / f"{n_layers}.zarr", n_layers, gigabytes)
    batch_bytes = n_layers * BATCH * D * 2
    batches = max(int(2e9 / batch_bytes), 8)
    maps = [store.stored(hook, s).reshape(-1).view(np.uint8) for s in store.shards("train") for hook in store.hooks]
    rates: dict[str, list[float]] = {"stream": [], "memcpy": [], "zarr": []}
    with ShuffledStream(store, batch_size=BATCH) as stream, ThreadPoolExecutor(READ_THREADS) as pool:
        target = np.zeros(len(stream._buffers) * batch_bytes, dtype=np.uint8)
        copy_maps(maps, target, int(gigabytes * 1e9), pool)  # into the page cache, and its pages into the maps
        held = stream.memory_bytes
        read_stream(stream, store.n_rows("train") // BATCH + 1)
        for _ in range(repeats):
            n_bytes = batches * batch_bytes
            rates["stream"].append(n_bytes / seconds(lambda: read_stream(stream, batches)))
            rates["memcpy"].append(n_bytes / seconds(partial(copy_maps, maps, target, n_bytes, pool)))
            n_batches = max(1, 12 // n_layers)
            rates["zarr"].append(n_batches * batch_bytes / seconds(partial(read_zarr, store, n_batches)))
    over = {
        name: summary([ours / theirs for ours, theirs in zip(rates["stream"], rates[name], strict=True)])["median"]
        for name in ("memcpy", "zarr")
    }
    return {
        "layers": n_layers,
        "store, GB": gigabytes,
        "shards a group": DEFAULT_POOL,
        "rows a shard": store.layout.rows_per_shard,
        "mixing": store_mixing(store) or 0.0,
        "stream, GB/s": statistics.median(rates["stream"]) / 1e9,
        "stream, Mrow/s": statistics.median(rates["stream"]) / (2e6 * D * n_layers),
        "over memcpy": over["memcpy"],
        "over zarr-python": over["zarr"],
        "held, GB": held / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 12])
    parser.add_argument("--gigabytes", type=float, default=4.5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="where the store is written (a temporary folder by default)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        rows = [measure(n, args.gigabytes, args.repeats, folder) for n in args.layers]
    report({"benchmark": "read", "batch": BATCH, "d": D, "dtype": "float16"}, rows, args.out)


if __name__ == "__main__":
    main()
