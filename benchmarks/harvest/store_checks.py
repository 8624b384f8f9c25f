"""Whether the store of `harvest_gpu.py` is right: its rows, its statistics, and the same store after kills."""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.shared.language_model import CONTEXT
from data import Store
from data.store.stats import RunningSums
from data.store.writing.lifecycle import staging_path
from harvest.model.find import find_model
from harvest.model.load import load

KILLS = 10
SYNC_SECONDS = 0.2  # between records in a harvest that is killed; a short one would have none otherwise
FLOAT16_ERROR = 2.0**-11  # largest relative error of rounding to float16
PRELOADED = ["transformers", "harvest.cli", "harvest.run", "harvest.prepare", "harvest.pipeline.pipeline"]


def check_rows(store: Store, model: Path, contexts: int) -> dict[str, Any]:
    """Compare the rows of some contexts with an uncompiled float32 pass on the CPU.

    A hook is beyond its stated error if ‖a − b‖ / ‖b‖ over all compared rows exceeds 1.2 times that of the store's
    provenance, which is measured on other contexts, and the error of float16.
    """
    facts = find_model(str(model), None)
    lm = load(facts, ["mlp_out"], range(facts.n_layers), processing="centred", device=torch.device("cpu"))
    tokens = torch.from_numpy(store.tokens(np.arange(contexts)).astype(np.int64))
    expected: dict[str, torch.Tensor] = {}
    lm.capture_uncompiled(tokens, lambda name, value: expected.update({name: value.clone()}))
    worst, compared, squares = 0.0, 0, {hook: np.zeros(2) for hook in store.hooks}
    for shard in [*store.shards("heldout"), *store.shards("train")]:
        context, position = store.origin(shard)
        wanted = np.flatnonzero((context >= 0) & (context < contexts))
        for hook in store.hooks if len(wanted) else ():
            x = expected[hook].numpy()[context[wanted], position[wanted]]
            error = np.linalg.norm(store.rows(hook, shard, wanted) - x, axis=1)
            norms = np.linalg.norm(x, axis=1)
            worst = max(worst, float((error / norms).max()))
            squares[hook] += np.square(error).sum(), np.square(norms).sum()
        compared += len(wanted)
    n_rows = sum(int(store.shard_rows(shard)) for shard in range(store.layout.n_shards))
    errors = {hook: float(np.sqrt(error / norm)) for hook, (error, norm) in squares.items()}
    stated = store.provenance["model"]["relative_error"]
    return {
        "rows missing": store.layout.n_rows - n_rows + contexts * CONTEXT - compared,
        "hooks beyond their stated error": sum(errors[hook] > 1.2 * stated[hook] + FLOAT16_ERROR for hook in errors),
        "largest relative error of a hook": max(errors.values()), "largest stated error": max(stated.values()),
        "largest relative error of a row": worst, "rows compared": compared * len(store.hooks),
    }  # fmt: skip


def check_statistics(store: Store, shards: int) -> dict[str, Any]:
    """Compare the statistics of some shards with the host's own, and with sums in float64 in NumPy's order."""
    worst, same = 0.0, True
    for hook in store.hooks:
        numbers = store.shards("train")[:shards]
        for shard, sums in zip(numbers, store.shard_statistics(hook, numbers), strict=True):
            rows, position = store.rows(hook, shard), store.origin(shard)[1]
            host = RunningSums.zeros(rows.shape[1])
            host.add(rows, position[: len(rows)] == 0)
            same &= np.array_equal(host.stats().moments, sums.moments)
            x = np.asarray(rows, dtype=np.float64)
            norms = np.linalg.norm(x, axis=1)
            for value, expected in (
                (sums.moments[0, 0], x.sum(axis=0)), (sums.moments[0, 1], np.square(x).sum(axis=0)),
                (sums.norms[0, :3], np.array([len(x), norms.sum(), np.square(norms).sum()])),
            ):  # fmt: skip
                scale = np.abs(x).sum(axis=0) if value is sums.moments[0, 0] else np.abs(expected)
                worst = max(worst, float((np.abs(value - expected) / scale).max()))
    return {"largest relative difference of a sum": worst, "moments equal to the host's bit for bit": bool(same)}


def harvest(arguments: list[str]) -> None:
    """Run `harvest` in this process, with frequent records."""
    from harvest.cli import main
    from harvest.pipeline import pipeline

    pipeline.SYNC_SECONDS = SYNC_SECONDS
    sys.stderr = io.StringIO()
    with redirect_stdout(io.StringIO()):
        main(arguments)


def killed(arguments: Callable[[Path], list[str]], folder: Path, n_bytes: int, seconds: float) -> dict[str, Any]:
    """Kill a harvest ten times, at random shares of its bytes, and continue it; compare its files with an unkilled one.

    arguments: those of `harvest` into a store. n_bytes: of the store. No kill comes after so many seconds.
    """
    whole, out, rng = folder / "whole.zarr", folder / "killed.zarr", random.Random(0)
    started = multiprocessing.get_context("forkserver")  # its processes have no GPU until they ask for one
    started.set_forkserver_preload(PRELOADED)
    begun, kills, at = time.monotonic(), 0, list[float]()

    def start(store: Path) -> Any:
        process = started.Process(target=harvest, args=(arguments(store),))
        process.start()
        return process

    def finish(process: Any) -> None:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"harvest ended with {process.exitcode}")

    finish(start(whole))
    for number in range(KILLS):
        if time.monotonic() - begun > seconds:
            break
        wanted = max((number + rng.random()) / (KILLS + 1) * n_bytes, written(out) + 1)
        process = start(out)
        while process.is_alive() and written(out) < wanted:
            time.sleep(0.01)
        if not process.is_alive():
            finish(process)
            break
        at.append(written(out) / n_bytes)
        process.kill()
        process.join()
        kills += 1
    finish(start(out))
    different = differing(whole, out)
    for store in (whole, out):
        shutil.rmtree(store)
    return {"kills": kills, "at shares of the bytes": at, "files that differ": different}


def written(store: Path) -> int:
    """Return the bytes of all files of a store that is being written."""
    total = 0
    for folder in (store, staging_path(store)):
        for place, _, names in os.walk(folder):
            for name in names:
                with suppress(FileNotFoundError):  # it was renamed
                    total += os.stat(os.path.join(place, name)).st_size
    return total


def differing(one: Path, other: Path) -> int:
    """Return the number of files that are in one of two folders only, or have other bytes."""
    names = {path.relative_to(folder) for folder in (one, other) for path in folder.rglob("*") if path.is_file()}

    def differs(name: Path) -> bool:
        paths = one / name, other / name
        return not all(path.exists() for path in paths) or paths[0].read_bytes() != paths[1].read_bytes()

    with ThreadPoolExecutor() as pool:
        return sum(pool.map(differs, names))
