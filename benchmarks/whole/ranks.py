"""`harvest` and `train` by one process, and by 2 and 4 under torchrun: the files and numbers that they write.

    python benchmarks/whole/ranks.py [--out benchmarks/results/ranks.json]

The model is the demo model, the device the CPU, and torchrun is the command `python -m torch.distributed.run`. Three
cases are compared with a single process:

    harvest            all files of the store, byte for byte
    train, by cells    each process trains whole SAEs: all files except those that hold times, byte for byte
    train, batches     all processes train one SAE and split its batches: final weights, and the last held-out measures

The last are equal up to rounding, so their largest differences are given. A difference of weights is relative to the
largest entry of their tensor, one of a measure to its value. Rounding may also decide comparisons of nearly equal
numbers: which activations BatchTopK keeps, and which restarted feature gets which input.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from safetensors.torch import load_file

from benchmarks.shared.measure import machine, table
from benchmarks.shared.torchrun import command, contents, differing, environment

PROCESSES = (2, 4)
CELLS = ("baseline", "nsae", "topk", "batchtopk")  # each in two layers
SPLIT = ("baseline", "nsae", "gated", "topk", "batchtopk", "jumprelu")  # each in one layer
LAYERS, CONTEXT, TARGET_L0, EXPANSION, BATCH = "0-1", 64, 8, 4, 256


class Commands:
    """Runs the commands in one folder, with its sizes."""

    def __init__(self, folder: Path, tokens: int, activations: int) -> None:
        self.folder, self.tokens, self.activations = folder, tokens, activations

    def harvest(self, n: int) -> Path:
        """Harvest by n processes; return the store."""
        return self._run(
            n, "harvest", f"harvest-{n}.zarr", "--model", "demo", "--tokens", str(self.tokens), "--layers", LAYERS,
            "--context-size", str(CONTEXT),
        )  # fmt: skip

    def train(
        self, n: int, name: str, layers: str, variants: tuple[str, ...], *more: str, module: str = "train"
    ) -> Path:
        """Train by n processes on the store of one process, with more options; return the experiment's folder.

        Noise, the L0 controller, thresholds over a batch, restarts of features and snapshots happen in these steps.
        """
        return self._run(
            n, module, f"{name}-{n}", "--store", "harvest-1.zarr", "--layers", layers, "--variant", ",".join(variants),
            "--target-l0", str(TARGET_L0), "--expansion", str(EXPANSION), "--batch-size", str(BATCH), "--activations",
            str(self.activations), "--validate-every", "10k", "--validate-rows", "1k", "--log-every", "2k", "--window",
            "4k", "--resample-interval", "8k", "--resample-window", "4k", "--resample-rows", "2k", "--snapshots", "2",
            *more,
        )  # fmt: skip

    def _run(self, n: int, module: str, out: str, *arguments: str) -> Path:
        begin = time.monotonic()
        done = subprocess.run(
            command(n, module, *arguments, "--device", "cpu", "--out", out),
            cwd=self.folder, env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{module} by {n} processes failed:\n{done.stdout}{done.stderr}")
        print(f"{module} {out}: {time.monotonic() - begin:.0f} s", flush=True)
        return self.folder / out


def rows_of(commands: Commands) -> Iterator[dict[str, Any]]:
    """Run all commands; yield a row per case and number of processes."""
    store = commands.harvest(1)
    for n in PROCESSES:
        yield equality("harvest", n, commands.harvest(n), store)
    alone = commands.train(1, "cells", LAYERS, CELLS)
    for n in PROCESSES:
        yield equality("train, by cells", n, commands.train(n, "cells", LAYERS, CELLS), alone)
    for variant in SPLIT:
        alone = commands.train(1, variant, "0", (variant,))
        for n in PROCESSES:
            out = commands.train(n, variant, "0", (variant,))
            yield {"case": f"train, batches: {variant}", "processes": n, **differences(out, alone)}


def equality(case: str, n: int, out: Path, expected: Path) -> dict[str, Any]:
    files = contents(expected)
    return {
        "case": case, "processes": n, "files": len(files),
        "weight files": sum(name.endswith(".safetensors") for name in files), "differing": differing(out, expected),
    }  # fmt: skip


def differences(out: Path, expected: Path) -> dict[str, Any]:
    """Return the largest differences between two experiments of one run, in its final weights and last measures."""
    names = contents(expected).keys()
    if contents(out).keys() != names:
        sys.exit(f"{out.name} and {expected.name} have other files")
    weights = Largest()
    for name in (name for name in names if name.endswith("/final/sae.safetensors")):
        theirs = load_file(out / name)
        for key, tensor in load_file(expected / name).items():
            tensor = tensor.double()
            weights.add(key, float((theirs[key].double() - tensor).abs().max()), float(tensor.abs().max()))
    measures = Largest()
    (path,) = expected.rglob("metrics.jsonl")
    line, other = last_record(path), last_record(out / path.relative_to(expected))
    for key, value in line.items():
        if isinstance(value, float):
            measures.add(key, abs(other[key] - value), abs(value))
        elif other[key] != value:
            sys.exit(f"{out.name}: {key} is {other[key]}, not {value}")
    return {**weights.named("weights"), **measures.named("measures")}


class Largest:
    """The largest differences of some quantities, absolute and relative to a scale."""

    def __init__(self) -> None:
        self.absolute = self.relative = 0.0
        self.of = ""  # the quantity with the largest relative difference

    def add(self, name: str, difference: float, scale: float) -> None:
        self.absolute = max(self.absolute, difference)
        relative = difference / scale if difference else 0.0
        if relative > self.relative:
            self.relative, self.of = relative, name

    def named(self, kind: str) -> dict[str, Any]:
        return {f"{kind}, absolute": self.absolute, f"{kind}, relative": self.relative, f"{kind}, largest": self.of}


def last_record(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
    return record


@click.command(help=__doc__)
@click.option("--tokens", default=40_000, show_default=True)
@click.option("--activations", default=20_000, show_default=True, help="Rows of each training.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the JSON goes.")
def main(tokens: int, activations: int, out: Path | None) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for row in rows_of(Commands(Path(name), tokens, activations)):
            rows.append(row)
            print(table([row]), flush=True)
    result = {
        "machine": {**machine(), "python": platform.python_version()}, "benchmark": "ranks", "threads": 1,
        "tokens": tokens, "activations": activations, "layers": LAYERS, "context": CONTEXT, "target L0": TARGET_L0,
        "expansion": EXPANSION, "batch": BATCH, "rows": rows,
    }  # fmt: skip
    text = json.dumps(result, indent=2)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    if any(row.get("differing") for row in rows):
        sys.exit("files differ")


if __name__ == "__main__":
    main()
