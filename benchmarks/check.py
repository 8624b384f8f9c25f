"""What does checking each chunk cost the stream?  python benchmarks/check.py

A process checks a chunk the first time that it maps it. In turn, several times: a first epoch of the shuffled stream
over a new `Store`, with the checks and without them; and a later epoch, which checks nothing. Printed: CPU seconds a
gigabyte of each, over all threads.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from _measure import report
from read import BATCH, write_store

from data import ShuffledStream, open_store
from data.chunks import ArrayFile


def epoch(stream: ShuffledStream) -> float:
    """CPU seconds of one epoch."""
    begin = time.process_time()
    for _ in range(stream.order.shards.n_rows // BATCH):
        next(stream)
    return time.process_time() - begin


def measure(folder: str, n_layers: int, gigabytes: float, repeats: int) -> dict[str, float]:
    path = Path(folder) / "check.zarr"
    write_store(path, n_layers, gigabytes)
    check = ArrayFile.check
    seconds: dict[str, list[float]] = {"first, checked": [], "first, unchecked": [], "later": []}
    for _ in range(repeats):
        for name in ("first, checked", "first, unchecked"):
            if name == "first, unchecked":
                ArrayFile.check = lambda *_: None  # type: ignore[method-assign,assignment]
            with ShuffledStream(open_store(path), batch_size=BATCH) as stream:
                seconds[name].append(epoch(stream))
                if name == "first, checked":
                    seconds["later"].append(epoch(stream))
            ArrayFile.check = check  # type: ignore[method-assign]
    figures = {f"{name}, s/GB": statistics.median(values) / gigabytes for name, values in seconds.items()}
    return {"layers": n_layers, "store, GB": gigabytes, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(folder, args.layers, args.gigabytes, args.repeats)]
    report({"benchmark": "check", "batch": BATCH}, rows, args.out)


if __name__ == "__main__":
    main()
