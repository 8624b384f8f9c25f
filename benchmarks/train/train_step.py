"""A training step of one SAE, against its floor, against dense steps, and against other libraries.

    python benchmarks/train/train_step.py [--peers ENVIRONMENT/bin/python] [--out benchmarks/results/train_step.json]
    python benchmarks/train/train_step.py --architectures   every architecture, over the encode product
    python benchmarks/train/train_step.py --density   the density above which sparse steps are slower than dense ones
    python benchmarks/train/train_step.py --device cuda   in bfloat16 on a GPU, also twelve SAEs at a time

All take turns (shared/contest.py), on the same inputs and parameters (steps.py and peers/run.py). A shared machine's
speed drifts, so "over ours" is the median over rounds of a step's time divided by ours in the same round.
benchmarks/peers says how to install the other libraries.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.shared.contest import compete
from benchmarks.shared.measure import report, summary

BENCHMARKS = Path(__file__).resolve().parents[1]
STEPS = BENCHMARKS / "train" / "steps.py"
OURS = ("encode", "ours", "ours, four runs", "ours, dense", "by hand", "autograd", "compiled", "ours, NSAE")
ON_GPU = (
    "encode", "ours", "ours, dense", "ours, NSAE", "by hand", "autograd", "compiled", "ours, twelve",
    "ours, twelve, dense", "ours, twelve, sparse", "ours, twelve NSAEs", "compiled, twelve",
)  # fmt: skip
PEERS = ("SAELens", "dictionary_learning", "sparsify")
ARCHITECTURES = {  # our step, and the libraries that train the same architecture
    "ours": ("dictionary_learning, baseline",),
    "ours, NSAE": (),
    "relu": ("SAELens, relu", "dictionary_learning, relu"),
    "gated": ("SAELens, gated", "dictionary_learning, gated"),
    "topk": ("SAELens, topk", "dictionary_learning, topk", "sparsify, topk"),
    "batchtopk": ("SAELens, batchtopk", "dictionary_learning, batchtopk"),
    "matryoshka": ("SAELens, matryoshka", "dictionary_learning, matryoshka"),
    "jumprelu": ("SAELens, jumprelu", "dictionary_learning, jumprelu"),
    "p-anneal": ("dictionary_learning, p-anneal",),
    "frozen": (),
}
PRODUCTS = 5  # per dense step: encode, decode, and the gradients of c and of both weights
DENSITIES = (0.005, 0.02, 0.06, 0.1)


def command(python: str, script: Path, name: str, options: argparse.Namespace, l0: float | None = None) -> list[str]:
    shape = {"--d-model": options.d_model, "--d-sae": options.d_sae, "--batch-size": options.batch_size,
             "--l0": l0 or options.l0, "--device": options.device}  # fmt: skip
    return [python, str(script), name, *(str(part) for pair in shape.items() for part in pair)]


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Let our steps and the libraries' own take turns."""
    names = options.only.split("|") if options.only else OURS if options.device == "cpu" else ON_GPU
    return compete_with("ours", names, PEERS, options)


def compare_architectures(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Let each architecture take turns with the encode product and with the libraries that have it.

    One architecture at a time, because the memory does not hold the steps of all.
    """
    rows = []
    for ours, peers in ARCHITECTURES.items():
        rows += compete_with(ours, ("encode", ours), peers, options)
    return [row for i, row in enumerate(rows) if i == 0 or row["step"] != "encode"]


def compete_with(
    ours: str, names: Sequence[str], peers: Sequence[str], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return a row for each of our steps and each peer's. `ours` is the step that "over ours" divides by."""
    commands = {name: command(sys.executable, STEPS, name, options) for name in names}
    if options.peers:
        commands |= {name: command(options.peers, BENCHMARKS / "peers" / "run.py", name, options) for name in peers}
    results = compete(commands, rounds=options.rounds, steps=options.steps)
    rounds = {name: by_round(result["seconds"], options.steps) for name, result in results.items()}
    rows = []
    for name, result in results.items():
        floors = rounds.get("encode", rounds[name])
        over_encode = median(seconds / floor for seconds, floor in zip(rounds[name], floors, strict=True))
        ratios = sorted(theirs / seconds for theirs, seconds in zip(rounds[name], rounds[ours], strict=True))
        times = summary([1000 * s for s in result["seconds"]])
        n, products = 12 if "twelve" in name else 1, 1 if name == "encode" else PRODUCTS
        flop = 2 * n * products * options.batch_size * options.d_model * options.d_sae
        rows.append({
            "step": name, "ms": times["median"], "min": times["min"], "max": times["max"],
            "over ours": median(ratios),
            "over encode": over_encode,
            "by round": f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
            "dense TFLOP/s": flop / times["median"] / 1e9,
            "Mrow/s and SAE": n * options.batch_size / times["median"] / 1e3,
            "version": result["facts"].get("version", ""),
        })  # fmt: skip
    return rows


def by_round(seconds: list[float], steps: int) -> list[float]:
    """Return the mean of each round of `steps` steps."""
    return [mean(seconds[begin : begin + steps]) for begin in range(0, len(seconds), steps)]


def densities(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for density in DENSITIES:
        names = ("ours, sparse", "ours, dense")
        l0 = density * options.d_sae
        commands = {name: command(sys.executable, STEPS, name, options, l0) for name in names}
        results = compete(commands, rounds=options.rounds, steps=options.steps)
        sparse, dense = (1000 * median(results[name]["seconds"]) for name in names)
        rows.append({"density": density, "L0": l0, "on pairs, ms": sparse, "dense, ms": dense,
                     "dense over pairs": dense / sparse})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d-model", type=int, default=768)
    parser.add_argument("--d-sae", type=int, default=12288)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--l0", type=float, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps of each in a round")
    parser.add_argument("--architectures", action="store_true")
    parser.add_argument("--only", help="of the steps in steps.py, separated by |")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peers", help="the Python of an environment that has the other libraries")
    parser.add_argument("--density", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    shape = {"d_model": options.d_model, "d_sae": options.d_sae, "batch": options.batch_size, "L0": options.l0,
             "device": options.device}  # fmt: skip
    measure = densities if options.density else compare_architectures if options.architectures else compare
    report(shape, measure(options), options.out)


if __name__ == "__main__":
    main()
