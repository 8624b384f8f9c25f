"""How long until `train` takes its first step on a large store?  python benchmarks/train/start.py

A finished store of GPT-2 small's shape and some 100 GB is made of sparse files (nothing but zeros on the disk, nothing
written), and `train` is started on one layer of it several times. Printed: seconds from the start of the process until
torch is imported, and from there until the first step is about to be taken, its batch in hand.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.shared.measure import report

N_LAYERS = 12


def make_store(path: Path, gigabytes: float) -> None:
    """Every row of it is zero; its statistics say that each has norm 1."""
    from benchmarks.shared.made_store import D, empty_store
    from data.store import stats
    from data.store.chunks import checksum_of, crc32c, trailer, write_chunk
    from data.store.commit_table import FACTS
    from data.store.layout import SPLITS
    from data.store.schema import COMMIT, STATS_FIELDS, stats_name
    from data.store.writing.lifecycle import finish

    schema = empty_store(path, N_LAYERS, gigabytes)
    layout = schema.layout
    shard_bytes = layout.rows_per_shard * 2 * D
    checksum = crc32c(bytes(shard_bytes))
    sums = stats.RunningSums.zeros(D)
    sums.add(np.full((1, D), D**-0.5), np.zeros(1, dtype=bool))
    row = sums.stats()
    per_chunk = min(layout.shards_per_window, layout.n_shards)
    for window in range(layout.n_windows):
        table = np.zeros((per_chunk, len(schema.commit_columns)), dtype=np.int64)
        assignments = layout.assignments(window)
        lines = [(n, SPLITS.index(part.split), window) for part in assignments for n in part.shard_rows()]
        table[: len(lines), : len(FACTS)] = lines
        table[: len(lines), len(FACTS) :] = checksum
        small = {COMMIT: table}
        for hook in schema.hooks:
            parts = {}
            for field in STATS_FIELDS:
                value = getattr(row, field)
                parts[field] = np.multiply.outer(table[:, 0], value).astype(value.dtype)
                small[stats_name(hook, field)] = parts[field]
            column = schema.commit_columns.index(f"crc32c:{stats_name(hook)}")
            for line in range(len(lines)):
                table[line, column] = checksum_of(*(part[line] for part in parts.values()))
            for assignment in assignments:
                for shard in range(assignment.first_shard, assignment.first_shard + assignment.n_shards):
                    with open(path / hook / schema.arrays[hook].chunk_key(shard), "wb") as sparse:
                        sparse.seek(shard_bytes)
                        sparse.write(trailer(checksum))
        for name, values in small.items():
            write_chunk(path / name / schema.arrays[name].chunk_key(window), values)
    finish(path)


def train_once(store: str, out: str) -> None:
    """Child process: as `train` does, up to its first step; prints the seconds."""
    begin = psutil.Process().create_time()
    import torch  # noqa: F401

    imported = time.time()
    from train.cli import main
    from train.step.sae_stack import SAEStack

    def first_step(*_: object, **__: object) -> None:
        print(json.dumps({"torch": imported - begin, "first step": time.time() - imported}), flush=True)
        os._exit(0)

    SAEStack.step = first_step  # type: ignore[method-assign,assignment]
    main(["--store", store, "--out", out, "--variant", "baseline", "--layers", "5", "--device", "cpu"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="where the store is made (a temporary folder by default)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        train_once(*args.child)
        return
    timings: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        store = Path(folder) / "large.zarr"
        make_store(store, args.gigabytes)
        for repeat in range(args.repeats + 1):  # the first one warms the cache
            command = [sys.executable, str(Path(__file__).resolve()), "--child", str(store), f"{folder}/run-{repeat}"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            timings += [json.loads(done.stdout.strip().split("\n")[-1])] if repeat else []
    rows = [
        {"until": what, "seconds": statistics.median(values), "least": min(values), "most": max(values)}
        for what, values in ((what, [one[what] for one in timings]) for what in timings[0])
    ]
    report({"benchmark": "start", "gigabytes": args.gigabytes, "layers": N_LAYERS, "trained": 1}, rows, args.out)


if __name__ == "__main__":
    main()
