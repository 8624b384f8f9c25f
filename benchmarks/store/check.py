"""What does checking each chunk cost the stream?  python benchmarks/store/check.py

A process checks a chunk the first time that it maps it. In turn, several times: a first epoch of the shuffled stream
over a new `Store`, with the checks and without them, from the page cache and from the disk; and a later epoch, which
checks nothing. Printed are medians, a gigabyte: of the clock, for a thread checks the next group of shards while the
caller reads the present one, and of the CPUs, over all threads.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.shared.measure import report
from benchmarks.store.read import BATCH, write_store
from data import ShuffledStream, open_store
from data.store.chunks import ArrayFile


class Seconds(NamedTuple):
    """Return the seconds of one epoch per gigabyte: on the clock, and of CPUs over all threads."""

    wall: float
    cpu: float


def epoch(stream: ShuffledStream, gigabytes: float) -> Seconds:
    begin = time.perf_counter(), time.process_time()
    for _ in range(stream.order.shards.n_rows // BATCH):
        next(stream)
    return Seconds((time.perf_counter() - begin[0]) / gigabytes, (time.process_time() - begin[1]) / gigabytes)


def drop_from_cache(path: Path) -> None:
    """Leave a store's files on the disk alone; their maps must be closed."""
    for file in path.rglob("*.0"):
        with open(file, "rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(folder: str, n_layers: int, gigabytes: float, repeats: int) -> list[dict[str, float | str]]:
    path = Path(folder) / "check.zarr"
    write_store(path, n_layers, gigabytes)
    os.sync()
    check = ArrayFile.check
    turns: dict[tuple[str, str], list[Seconds]] = {}
    for _ in range(repeats):
        for source, checked in itertools.product(("page cache", "disk"), ("checked", "unchecked")):
            if source == "disk":
                drop_from_cache(path)
            if checked == "unchecked":
                ArrayFile.check = lambda *_: None  # type: ignore[method-assign]
            with ShuffledStream(open_store(path), batch_size=BATCH) as stream:
                turns.setdefault((source, checked), []).append(epoch(stream, gigabytes))
                if (source, checked) == ("page cache", "checked"):
                    turns.setdefault(("maps", "later epoch"), []).append(epoch(stream, gigabytes))
            ArrayFile.check = check  # type: ignore[method-assign]
    return [
        {
            "layers": n_layers, "store, GB": gigabytes, "from": source, "chunks": checked,
            "wall, s/GB": statistics.median(one.wall for one in seconds),
            "CPU, s/GB": statistics.median(one.cpu for one in seconds),
        }
        for (source, checked), seconds in turns.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(folder, args.layers, args.gigabytes, args.repeats)
    report({"benchmark": "check", "batch": BATCH}, rows, args.out)


if __name__ == "__main__":
    main()
