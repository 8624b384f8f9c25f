"""How fast are rows written?  python benchmarks/harvest/write_path.py

A model that only returns made-up rows feeds the real pipeline: rows are encoded, brought into writing order, checked,
added to the statistics and checksums, written, synced and renamed into a store of 12 layers of GPT-2 small's width.
Plain writing of as many bytes through the page cache, to as many files in the same folder, by as many threads, with a
sync at the end, takes turns with it. As in `harvest`, a short measurement before chooses between direct writes and the
page cache. `--threads 1,2` limits both to so many cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args
from unittest import mock

import numpy as np
import torch

from benchmarks.shared.made_store import CONTEXT, D, empty_store
from benchmarks.shared.measure import report, seconds
from data.choices import DType
from data.store.schema import Schema
from data.store.writing.appended_files import AppendedFiles, BufferedFiles, DirectFiles
from data.store.writing.lifecycle import staging_path
from data.store.writing.window_writer import WindowWriter
from harvest.model.base import OnActivation
from harvest.output.write_speed import write_speed
from harvest.pipeline import pipeline

LAYERS, BATCH = 12, 32
PIECE = 4 << 20  # bytes of one plain write


class MadeUpModel:
    """A model whose activations are made up once, so that its forward pass takes no time."""

    path: Literal["transformers", "transformer_lens"] = "transformers"
    compiled, compile_seconds = False, None

    def __init__(self, widths: dict[str, int]) -> None:
        self.widths = widths
        self._values = torch.randn(BATCH, CONTEXT, D, generator=torch.Generator().manual_seed(0))

    def capture(self, tokens: torch.Tensor, on_activation: OnActivation) -> None:
        for name in self.widths:
            on_activation(name, self._values[: len(tokens)])


def write_store(path: Path, schema: Schema, files: Callable[[], AppendedFiles]) -> None:
    """Write all windows of the schema's store."""
    layout = schema.layout
    tokens = np.zeros((layout.n_contexts, CONTEXT), dtype=np.int32)
    scales = {hook: torch.ones(D) for hook in schema.hooks} if schema.encoding.channel_scales else {}
    with pipeline.Pipeline(
        MadeUpModel(schema.widths), schema, batch_size=BATCH, device=torch.device("cpu"), channel_scales=scales,
        wrote=lambda *_: None,
    ) as running:  # fmt: skip
        for window in range(layout.n_windows):
            writer = WindowWriter(path, staging_path(path), schema, window, files())
            _, end = layout.window_contexts(window)
            for first, last in layout.window_batches(window, BATCH, 0):
                begin = first * CONTEXT
                rows, ranges = layout.writing_order(window, begin, last * CONTEXT)
                running.submit(
                    tokens[first:last], begin, rows, ranges, writer, contexts_done=min(last, end), last=last >= end
                )


def write_plainly(folder: Path, n_files: int, file_bytes: int, threads: int) -> None:
    """Write files of made-up bytes on `threads`, and sync each."""
    data = np.random.default_rng(0).integers(0, 256, PIECE, dtype=np.uint8).data

    def write(number: int) -> None:
        fd = os.open(folder / str(number), os.O_WRONLY | os.O_CREAT)
        for offset in range(0, file_bytes, PIECE):
            os.pwrite(fd, data[: file_bytes - offset], offset)
        os.fdatasync(fd)
        os.close(fd)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(n_files)))


def turn(dtype: DType, gigabytes: float, threads: int, folder: str | None) -> tuple[float, float, bool]:
    """Return GB/s of the whole path and of plain writing, and whether the former chose direct writes."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "store.zarr"
        schema = empty_store(path, LAYERS, gigabytes, dtype)
        n_shards, shard_bytes = schema.layout.n_shards, schema.shard_bytes()
        written = n_shards * shard_bytes / 1e9
        chosen = write_speed(path, schema, threads, None)
        files = chosen.files if chosen else BufferedFiles
        with mock.patch.object(pipeline, "write_threads", return_value=threads):
            whole = written / seconds(lambda: write_store(path, schema, files))
    with tempfile.TemporaryDirectory(dir=folder) as place:
        n_files = n_shards * LAYERS
        plain = written / seconds(lambda: write_plainly(Path(place), n_files, shard_bytes // LAYERS, threads))
    return whole, plain, files is DirectFiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2, help="size of the store, in float16")
    parser.add_argument("--dtypes", default="float16", help=f"stored types, from {', '.join(get_args(DType))}")
    parser.add_argument("--threads", default="1,2", help="counts of threads, and of the cores they may use")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="where the stores are written (a temporary folder by default)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    cases = [(dtype, int(n)) for dtype in options.dtypes.split(",") for n in options.threads.split(",")]
    rates: dict[tuple[DType, int], list[tuple[float, float, bool]]] = {case: [] for case in cases}
    for _ in range(options.repeats):
        for dtype, threads in cases:
            os.sched_setaffinity(0, range(threads))
            torch.set_num_threads(threads)
            rates[dtype, threads].append(turn(dtype, options.gigabytes, threads, options.folder))
    rows: list[dict[str, Any]] = []
    for (dtype, threads), turns in rates.items():
        whole, plain = (statistics.median(rate[i] for rate in turns) for i in range(2))
        over = sorted(path_rate / floor for path_rate, floor, _ in turns)
        direct = sum(chosen for *_, chosen in turns)
        rows.append({
            "rows": dtype, "threads": threads, "direct": direct,
            "whole path, GB/s": whole, "plain writing, GB/s": plain,
            "over plain": statistics.median(over), "by round": f"{over[0]:.2f} to {over[-1]:.2f}",
        })  # fmt: skip
    report({"benchmark": "write_path", "gigabytes": options.gigabytes, "repeats": options.repeats, "d": D,
            "layers": LAYERS}, rows, options.out)  # fmt: skip


if __name__ == "__main__":
    main()
