"""`harvest` on a GPU against the limits of the card and of the disk, and whether its store is right.

    python benchmarks/harvest/harvest_gpu.py --sink memory=/dev/shm --sink disk=/scratch --out harvest_gpu.json
    python benchmarks/harvest/harvest_gpu.py --device cpu --layers 2 --batches 4 --batch-size 4    # a rehearsal

All layers' `mlp_out` of a model of GPT-2 small's shape with random weights, in float16. In each round, one after the
other, each in a process of its own:

    bare      the forward pass of `transformers` with SDPA: all blocks, no head, no hooks, nothing written
    plain     writing as many bytes as the store has, by as many threads as cores, to the same folder, with a sync
    harvest   the whole command; its first batch is left out, and its time ends when the last shard is sealed

Then, on the last store: rows that are missing or differ from an uncompiled float32 pass; the statistics against sums in
float64 on the host; and a harvest killed at random moments and continued, against the same files. Each part is skipped
once `--seconds` have passed, and the JSON is written after each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harvest.write_path import write_plainly
from benchmarks.shared.language_model import CONTEXT, child, make_model, make_tokens
from benchmarks.shared.measure import machine, seconds, table
from data import Store, open_store
from harvest.model.find import find_model
from harvest.model.load import load

D_MODEL, FILES = 768, 96
KILLS = 10


def bare(model: str, precision: str, batch_size: int, batches: int, device: str) -> None:
    """Child process: print tokens per second of the forward pass alone."""
    from transformers import AutoModel

    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    lm: Any = AutoModel.from_pretrained(model, dtype=kind, attn_implementation="sdpa").eval().to(device)
    tokens = torch.randint(0, 50257, (batches, batch_size, CONTEXT), device=device)

    def settle() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    with torch.inference_mode():
        for batch in tokens[:3]:  # what is chosen at first use
            lm(input_ids=batch, use_cache=False)
        settle()
        begin = time.perf_counter()
        for batch in tokens:
            lm(input_ids=batch, use_cache=False)
        settle()
    print(json.dumps({"tokens_per_second": tokens.numel() / (time.perf_counter() - begin)}))


def command(options: argparse.Namespace, folder: Path, out: Path) -> list[str]:
    """Return the harvest that is measured."""
    return [
        sys.executable, "-m", "harvest", "--model", str(folder / "model"), "--dataset", str(folder / "tokens.jsonl"),
        "--layers", "all", "--tokens", str(options.batches * options.batch_size * CONTEXT), "--dtype", "float16",
        "--batch-size", str(options.batch_size), "--device", options.device, "--precision", options.precision,
        "--compile", options.compile, "--out", str(out), "--json",
    ]  # fmt: skip


def one_round(options: argparse.Namespace, folder: Path, sink: Path, threads: int) -> dict[str, float]:
    """Return tokens per second of the bare pass, of plain writing and of the harvest into `sink`."""
    token_bytes = options.layers * D_MODEL * 2
    n_tokens = options.batches * options.batch_size * CONTEXT
    script = [
        sys.executable, str(Path(__file__).resolve()), "--device", options.device, "--batch-size",
        str(options.batch_size), "--batches", str(options.batches), "--child", str(folder / "model"), options.precision,
    ]  # fmt: skip
    speed = {"bare": child(script, threads)["tokens_per_second"]}
    with tempfile.TemporaryDirectory(dir=sink) as place:
        file_bytes = n_tokens * token_bytes // FILES
        speed["plain"] = n_tokens / seconds(lambda: write_plainly(Path(place), FILES, file_bytes, threads))
    out = sink / "measured.zarr"
    shutil.rmtree(out, ignore_errors=True)
    speed["harvest"] = child(command(options, folder, out), threads)["tokens_per_second"]
    return speed


def compare(rounds: list[dict[str, float]], sink: str) -> dict[str, Any]:
    """Return medians, and the harvest over the slower of the pass and plain writing, round by round."""
    over = [speed["harvest"] / min(speed["bare"], speed["plain"]) for speed in rounds]
    medians = {name: statistics.median(speed[name] for speed in rounds) for name in rounds[0]}
    return {"sink": sink, **medians, "over the slower": statistics.median(over), "rounds": len(rounds)}


def check_rows(store: Store, model: Path, contexts: int) -> dict[str, Any]:
    """Compare the rows of some contexts with an uncompiled float32 pass on the CPU."""
    facts = find_model(str(model), None)
    lm = load(facts, ["mlp_out"], range(facts.n_layers), processing="centred", device=torch.device("cpu"))
    tokens = torch.from_numpy(store.tokens(np.arange(contexts)).astype(np.int64))
    expected: dict[str, torch.Tensor] = {}
    lm.capture_uncompiled(tokens, lambda name, value: expected.update({name: value.clone()}))
    worst, compared = 0.0, 0
    for shard in [*store.shards("heldout"), *store.shards("train")]:
        context, position = store.origin(shard)
        wanted = np.flatnonzero((context >= 0) & (context < contexts))
        for hook in store.hooks if len(wanted) else ():
            x = expected[hook].numpy()[context[wanted], position[wanted]]
            error = np.linalg.norm(store.rows(hook, shard, wanted) - x, axis=1) / np.linalg.norm(x, axis=1)
            worst = max(worst, float(error.max()))
        compared += len(wanted)
    n_rows = sum(int(store.shard_rows(shard)) for shard in range(store.layout.n_shards))
    return {
        "rows missing": store.layout.n_rows - n_rows + contexts * CONTEXT - compared,
        "largest relative error of a row": worst, "rows compared": compared * len(store.hooks),
    }  # fmt: skip


def check_statistics(store: Store, shards: int) -> dict[str, Any]:
    """Compare the statistics of some shards with sums in float64 on the host, in NumPy's own order."""
    worst = 0.0
    for hook in store.hooks:
        numbers = store.shards("train")[:shards]
        for shard, sums in zip(numbers, store.shard_statistics(hook, numbers), strict=True):
            x = np.asarray(store.rows(hook, shard), dtype=np.float64)
            norms = np.linalg.norm(x, axis=1)
            for value, expected in (
                (sums.moments[0, 0], x.sum(axis=0)), (sums.moments[0, 1], np.square(x).sum(axis=0)),
                (sums.norms[0, :3], np.array([len(x), norms.sum(), np.square(norms).sum()])),
            ):  # fmt: skip
                scale = np.abs(x).sum(axis=0) if value is sums.moments[0, 0] else np.abs(expected)
                worst = max(worst, float((np.abs(value - expected) / scale).max()))
    return {"largest relative difference of a sum": worst}


def digest(store: Path) -> str:
    """Return a digest of the names and bytes of all files."""
    whole = hashlib.sha256()
    for path in sorted(path for path in store.rglob("*") if path.is_file()):
        whole.update(str(path.relative_to(store)).encode() + path.read_bytes())
    return whole.hexdigest()


def killed(options: argparse.Namespace, folder: Path, sink: Path, whole: Path, took: float) -> dict[str, Any]:
    """Kill a harvest at random moments and continue it; compare its files with those of `whole`."""
    out, rng, kills = sink / "killed.zarr", random.Random(0), 0
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as elsewhere:
        for _ in range(KILLS):
            process = subprocess.Popen(
                command(options, folder, out), cwd=elsewhere, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(timeout=rng.uniform(0.2, 1.0) * took)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
        subprocess.run(command(options, folder, out), cwd=elsewhere, check=True, stdout=subprocess.DEVNULL)
    return {"kills": kills, "same bytes": digest(out) == digest(whole)}


def check(part: str, options: argparse.Namespace, folder: Path, store: Store, sink: Path) -> dict[str, Any]:
    """Return what one check of the store in `sink` found."""
    if part == "rows":
        return check_rows(store, folder / "model", contexts=4)
    if part == "statistics":
        return check_statistics(store, shards=2)
    return killed(options, folder, sink, sink / "measured.zarr", took=20.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sink", action="append", default=[], help="NAME=FOLDER; several may be given")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="tf32")
    parser.add_argument("--compile", default="auto")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64, help="contexts of 256 tokens")
    parser.add_argument("--batches", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=440, help="no part begins after so many")
    parser.add_argument("--out", type=Path, default=Path("harvest_gpu.json"))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        bare(options.child[0], options.child[1], options.batch_size, options.batches, options.device)
        return
    if options.device == "cpu":
        options.precision, options.compile = "float32", "no"
    begun, threads = time.monotonic(), os.cpu_count() or 1
    sinks = dict(sink.split("=", 1) for sink in options.sink) or {"temporary": tempfile.gettempdir()}
    result: dict[str, Any] = {"benchmark": "harvest_gpu", "machine": machine(), "settings": str(vars(options))}
    speeds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=next(iter(sinks.values()))) as name:
        folder = Path(name)
        make_model(folder / "model", options.layers)
        make_tokens(folder / "tokens.jsonl", options.batches * options.batch_size * CONTEXT)
        for sink, place in sinks.items():
            with tempfile.TemporaryDirectory(dir=place) as store_name:
                at = Path(store_name)
                rounds: list[dict[str, float]] = []
                while len(rounds) < options.rounds and (not rounds or time.monotonic() - begun < options.seconds):
                    rounds.append(one_round(options, folder, at, threads))
                speeds.append(compare(rounds, sink))
                result["tokens per second"] = speeds
                store = open_store(at / "measured.zarr")
                if sink == next(iter(sinks)):
                    for part in ("rows", "statistics", "kills"):
                        if time.monotonic() - begun < options.seconds:
                            result[part] = check(part, options, folder, store, at)
                options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(speeds))
    print(json.dumps({name: value for name, value in result.items() if name in ("rows", "statistics", "kills")}))


if __name__ == "__main__":
    main()
