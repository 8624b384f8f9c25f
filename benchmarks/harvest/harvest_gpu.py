"""`harvest` on a GPU against the limits of the card and of the disk, and whether its store is right.

    python benchmarks/harvest/harvest_gpu.py --sink memory=/dev/shm --sink disk=/scratch --out limits.json
    python benchmarks/harvest/harvest_gpu.py --device cpu --layers 2 --batches 4 --batch-size 4    # a rehearsal

All layers' `mlp_out` of a model of GPT-2 small's shape with random weights, in float16. In each round, for each sink,
one after the other, each in a process of its own:

    bare      the forward pass of `transformers` with SDPA: all blocks, no head, no hooks, nothing written
    plain     writing as many bytes as the store has, by as many threads as cores, to the same folder, with a sync
    harvest   the whole command; its first batch is left out, and its time ends when the last shard is sealed

After the first round, on the store in the first sink:

    rows         that are missing, or differ from an uncompiled float32 pass on the CPU beyond the stated error
    statistics   against sums in float64 on the host
    experiment   the post's four runs in all layers on a part of its activations, and the time of the whole, scaled
    kills        a smaller harvest killed ten times at random moments and continued, against an unkilled one

No part begins that would end after `--seconds`, by estimate, and the JSON is written after each part. `bars` in it has
each target with its value and whether it is met.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.harvest.store_checks import check_rows, check_statistics, killed
from benchmarks.harvest.write_path import write_plainly
from benchmarks.shared.language_model import CONTEXT, child, make_model, make_tokens
from benchmarks.shared.measure import machine, seconds, table
from benchmarks.whole.whole_runs import trained
from data import open_store
from data.system.limits import cpus

D_MODEL, FILES = 768, 96
POST_TOKENS, POST_BATCH = 100e6, 4096
STATED_DISK = 5e9  # bytes per second of the disk for which the post's experiment has a target
ENOUGH = {"round": 75.0, "rows": 20.0, "statistics": 20.0, "experiment": 75.0, "kills": 120.0}  # seconds on a GPU


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


def arguments(options: argparse.Namespace, folder: Path, batches: int, out: Path) -> list[str]:
    """Return the arguments of the harvest that is measured."""
    return [
        "--model", str(folder / "model"), "--dataset", str(folder / "tokens.jsonl"), "--layers", "all",
        "--tokens", str(batches * options.batch_size * CONTEXT), "--dtype", "float16",
        "--batch-size", str(options.batch_size), "--device", options.device, "--precision", options.precision,
        "--compile", options.compile, "--out", str(out), "--json",
    ]  # fmt: skip


def one_round(options: argparse.Namespace, folder: Path, sink: Path, threads: int) -> dict[str, float]:
    """Return tokens per second of the bare pass, of plain writing and of the harvest into `sink`."""
    n_tokens = options.batches * options.batch_size * CONTEXT
    script = [
        sys.executable, str(Path(__file__).resolve()), "--device", options.device, "--batch-size",
        str(options.batch_size), "--batches", str(options.batches), "--child", str(folder / "model"), options.precision,
    ]  # fmt: skip
    speed = {"bare": child(script, threads)["tokens_per_second"]}
    out = sink / "measured.zarr"
    shutil.rmtree(out, ignore_errors=True)  # before plain writing, so that the sink holds the bytes once
    with tempfile.TemporaryDirectory(dir=sink) as place:
        file_bytes = n_tokens * token_bytes(options) // FILES
        speed["plain"] = n_tokens / seconds(lambda: write_plainly(Path(place), FILES, file_bytes, threads))
    harvest = [sys.executable, "-m", "harvest", *arguments(options, folder, options.batches, out)]
    speed["harvest"] = child(harvest, threads)["tokens_per_second"]
    return speed


def token_bytes(options: argparse.Namespace) -> int:
    """Return the bytes of a token's rows."""
    return int(options.layers * D_MODEL * 2)


def compare(rounds: list[dict[str, float]], sink: str) -> dict[str, Any]:
    """Return medians, and the harvest over the slower of the pass and plain writing, round by round."""
    over = [speed["harvest"] / min(speed["bare"], speed["plain"]) for speed in rounds]
    medians = {name: statistics.median(speed[name] for speed in rounds) for name in rounds[0]}
    return {"sink": sink, **medians, "over the slower": statistics.median(over), "rounds": len(rounds)}


def experiment(options: argparse.Namespace, store: Path, harvested: float) -> dict[str, Any]:
    """Train on a part of the post's activations, and scale to its 100M with the speed of the harvest, tokens/s."""
    gpu = options.device != "cpu"
    batch, steps = (POST_BATCH, 290) if gpu else (128, 32)
    result = trained(
        store, steps * batch, l1="1e-4,1e-3", expansion=16 if gpu else 1, batch_size=batch, device=options.device
    )
    last, first = result["rows"][-1], result["rows"][0]
    disk = STATED_DISK / token_bytes(options)
    minutes = {
        "harvest": POST_TOKENS / min(harvested, disk) / 60,
        "steps": POST_TOKENS / batch * last["ms a step"] / 60e3,
        "start, compilation and the end": (result["whole command, s"] - steps * last["ms a step"] / 1000) / 60,
    }
    return {
        "minutes": minutes, "minutes in all": sum(minutes.values()), "limit of the harvest, tokens/s": {
            "measured": harvested, "a disk of 5 GB/s": disk,
        },
        "ms a step": last["ms a step"], "first quarter, ms a step": first["ms a step"],
        "waiting for data": last["waiting"], "steps": result["steps"], "whole command, s": result["whole command, s"],
    }  # fmt: skip


def bars(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the targets that have been measured: what, its value, the target, and whether it is met."""
    rows: list[tuple[str, float, str, float]] = []
    for speed in result["tokens per second"]:
        rows.append((f"harvest over the slower, {speed['sink']}", speed["over the slower"], "at least", 0.9))
    for speed in result["tokens per second"][:1]:
        rows.append((f"tokens/s, {speed['sink']}", speed["harvest"], "at least", 800e3))
    for part, name, most in (
        ("rows", "rows missing", 0), ("rows", "hooks beyond their stated error", 0),
        ("statistics", "largest relative difference of a sum", 1e-12),
        ("kills", "files that differ", 0), ("experiment", "minutes in all", 25),
        ("experiment", "waiting for data", 0.01),
    ):  # fmt: skip
        if part in result:
            rows.append((name, result[part][name], "at most", most))
    if "kills" in result:
        rows.append(("kills", result["kills"]["kills"], "at least", 10))
    return [
        {"what": what, "value": value, "target": f"{kind} {bar:g}",
         "met": bool(value >= bar if kind == "at least" else value <= bar)}
        for what, value, kind, bar in rows
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sink", action="append", default=[], help="NAME=FOLDER; several may be given")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--compile", default="auto")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64, help="contexts of 256 tokens")
    parser.add_argument("--batches", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3, help="of speeds, at most")
    parser.add_argument("--seconds", type=float, default=450)
    parser.add_argument("--out", type=Path, default=Path("harvest_gpu_limits.json"))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        bare(options.child[0], options.child[1], options.batch_size, options.batches, options.device)
        return
    if options.device == "cpu":
        options.precision, options.compile = "float32", "no"
    begun, threads = time.monotonic(), cpus()
    sinks = dict(sink.split("=", 1) for sink in options.sink) or {"temporary": tempfile.gettempdir()}
    result: dict[str, Any] = {
        "benchmark": "harvest_gpu", "machine": machine(), "settings": str(vars(options)), "tokens per second": [],
    }  # fmt: skip
    took: dict[str, float] = {}
    rounds: dict[str, list[dict[str, float]]] = {sink: [] for sink in sinks}

    def left() -> float:
        return float(options.seconds - (time.monotonic() - begun))

    with ExitStack() as stack:
        at = {sink: Path(stack.enter_context(tempfile.TemporaryDirectory(dir=place))) for sink, place in sinks.items()}
        first = next(iter(sinks))
        folder = at[first]
        make_model(folder / "model", options.layers)
        make_tokens(folder / "tokens.jsonl", options.batches * options.batch_size * CONTEXT)

        def speeds() -> None:
            for sink in sinks:
                rounds[sink].append(one_round(options, folder, at[sink], threads))
                result["tokens per second"] = [compare(rows, sink) for sink, rows in rounds.items() if rows]

        measured = folder / "measured.zarr"
        batches = max(options.batches // 2, 1)  # of the harvests that are killed
        parts: list[tuple[str, Callable[[], Any]]] = [
            ("round", speeds),
            ("rows", lambda: check_rows(open_store(measured), folder / "model", contexts=4)),
            ("statistics", lambda: check_statistics(open_store(measured), shards=2)),
            ("experiment", lambda: experiment(options, measured, result["tokens per second"][0]["harvest"])),
            ("kills", lambda: killed(
                lambda out: arguments(options, folder, batches, out), folder,
                batches * options.batch_size * CONTEXT * token_bytes(options), left() - ENOUGH["kills"] / 4,
            )),
            *[("round", speeds)] * (options.rounds - 1),
        ]  # fmt: skip
        for part, work in parts:
            if rounds[first] and left() < took.get(part, ENOUGH[part] * (len(sinks) if part == "round" else 1)):
                continue
            began = time.monotonic()
            try:
                if (value := work()) is not None:
                    result[part] = value
            except Exception:  # the other parts are measured all the same
                traceback.print_exc()
                result.setdefault("failed", []).append(part)
            took[part] = time.monotonic() - began
            result["seconds"], result["bars"] = {**took, "all": time.monotonic() - begun}, bars(result)
            options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for rows in (result["tokens per second"], result["bars"]):
        print(table(rows) if rows else "")
    skipped = [part for part in ENOUGH if part not in took]
    print(f"skipped: {skipped}; failed: {result.get('failed', [])}; seconds: {result['seconds']}")


if __name__ == "__main__":
    main()
