"""`--target-l0` against fixed coefficients: explained variance at the same L0, and how many SAEs reach their target.

    python benchmarks/train/target_l0.py --store STORE --layers 4 --out benchmarks/results/target_l0.json

Per architecture and target, one run has its coefficient adjusted. Runs of the same length and batches then keep
coefficients around the one that it ended at, after a warm-up over an eighth of the training. Their explained variance
is interpolated at the adjusted run's L0, or is that of a run within 2 % of it. The difference has a 95 % interval over
documents. For jumprelu, the L0 at which its loss has its minimum is fixed instead. `--figure` draws the paths of the
adjusted runs.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from analyze.compare.targets import WITHIN, target_rows
from analyze.measure.evaluate import measure_heldout
from analyze.measure.heldout import Heldout
from analyze.report.figures.style import as_png
from analyze.report.figures.targets import controller_rows, draw_controller
from analyze.runs.configurations import configurations
from analyze.runs.trained_run import TrainedRun, find_runs
from analyze.runs.training_curves import training_curves
from analyze.statistics.curves import Scale, bracket, interpolate, interpolation_error, same_l0, why_refused
from analyze.statistics.estimates import Estimate, Estimates, Key, combine, measure_rows
from analyze.statistics.jackknife import Float
from benchmarks.shared.measure import table
from data import Store, open_store
from data.store.stats import Subset
from train import train
from train.output.metrics_file import read_records

VARIANTS = "baseline,nsae,relu,gated,jumprelu,p-anneal"
FACTORS = "0.5,0.7,1"  # of the coefficient that the adjusted run ended at
JUMPRELU = {"threshold": 1.0, "bandwidth": 0.1}


def train_runs(options: argparse.Namespace, variant: str, out: Path, **settings: Any) -> list[TrainedRun]:
    """Train runs of one architecture, and return them."""
    total = options.rows
    if variant == "p-anneal":
        settings["anneal_after"] = total // 5
    train(
        options.store, variant=variant, layers=options.layers, out=out, activations=total, quiet=True, device="cpu",
        batch_size=options.batch_size, expansion=options.expansion, lr=1e-3, lr_warmup=total // 12,
        lr_decay=total // 5, input_scale="sqrt-d", validate_every=total, snapshots=0, **settings,
    )  # fmt: skip
    return find_runs([out])


def fixed_runs(options: argparse.Namespace, adjusted: TrainedRun, out: Path) -> list[list[TrainedRun]]:
    """Train runs around the end of each layer's path; return the runs per layer."""
    factors, runs = [float(factor) for factor in options.factors.split(",")], []
    last = {record["hook"]: record for record in read_records(adjusted.folder) if record["split"] == "train"}
    for i, hook in enumerate(adjusted.hooks):
        settings: dict[str, Any]
        if adjusted.variant == "jumprelu":
            setpoints = [adjusted.target_l0 * factor for factor in (0.8, 1.0, 1.3)]
            mean_square = float(open_store(options.store).width(hook))  # of inputs with E‖x‖ = √d, about
            settings = {"sparsity": "quadratic", "target_l0": setpoints, "l1": mean_square, **JUMPRELU}
        else:
            values = [last[hook]["coefficient"] * factor for factor in factors]
            settings = {"l1": values, "l1_warmup": options.rows // 8}
        layer = str(options.layers).split(",")[i]
        one_layer = argparse.Namespace(**{**vars(options), "layers": layer})
        runs.append(train_runs(one_layer, adjusted.variant, out / str(i), **settings))
    return runs


def at_equal_l0(measured: Estimates, adjusted: TrainedRun, fixed: Sequence[TrainedRun], hook: str) -> dict[str, Any]:
    """Return the explained variance of the adjusted run and of the fixed ones at its L0, and the difference."""

    def value(run: TrainedRun, measure: str) -> Estimate:
        return measured[Key(run.name, hook, False, Subset.ALL, measure)]

    ordered = sorted(fixed, key=lambda run: value(run, "l0").value)
    l0, explained = ([value(run, measure) for run in ordered] for measure in ("l0", "explained_variance"))
    at, explained_at_l0 = value(adjusted, "l0"), value(adjusted, "explained_variance")
    points, heights = (np.array([estimate.value for estimate in curve]) for curve in (l0, explained))
    row = {"explained variance": explained_at_l0.value, "fixed L0": [round(float(x), 2) for x in points]}
    nearest = min(ordered, key=lambda run: abs(value(run, "l0").value / at.value - 1))
    if same_l0(value(nearest, "l0").value, at.value):
        beside = value(nearest, "explained_variance")
        difference = combine(np.subtract, [explained_at_l0, beside])
        low, high = difference.interval
        return {**row, "fixed": beside.value, "difference": difference.value, "low": low, "high": high}
    why = why_refused(points, at.value)
    if why is not None:
        return {**row, "fixed": None, "difference": None, "low": None, "high": None, "refused": why}
    left, n = bracket(points, at.value), len(ordered)

    def curve(*values: Float) -> Float:
        x, y = np.stack(values[:n], axis=-1), np.stack(values[n : 2 * n], axis=-1)
        return interpolate(x, y, values[2 * n], Scale.LOG_OF_REST, left)  # type: ignore[arg-type]

    inputs = [*l0, *explained, at, explained_at_l0]
    difference = combine(lambda *values: values[-1] - curve(*values), inputs)
    error = interpolation_error(points, heights, at.value, Scale.LOG_OF_REST)
    difference = replace(difference, bias=error)
    low, high = difference.interval
    return {**row, "fixed": combine(curve, inputs).value, "difference": difference.value, "low": low, "high": high}


def compare(
    options: argparse.Namespace, store: Store, heldout: Heldout, variant: str, target: float, work: Path
) -> Iterator[dict[str, Any]]:
    """Yield a row per layer."""
    settings = JUMPRELU if variant == "jumprelu" else {}
    (adjusted,) = train_runs(options, variant, work / "adjusted", target_l0=target, **settings)
    adjusted = replace(adjusted, name=f"{variant}_target_l0={target:g}")
    by_layer = fixed_runs(options, adjusted, work / "fixed")
    for hook, fixed in zip(adjusted.hooks, by_layer, strict=True):
        fixed = [replace(run, name=f"fixed {i}") for i, run in enumerate(fixed)]
        measured, _ = measure_heldout(heldout, [adjusted, *fixed], hooks=[hook])
        (reached,) = target_rows(measure_rows(measured, [adjusted, *fixed]), [adjusted])
        yield {
            "architecture": variant, "hook": hook, "target": target, "L0": reached.l0, "miss": reached.miss,
            "miss on training rows before the correction": (reached.l0_before or math.nan) / target - 1,
            **at_equal_l0(measured, adjusted, fixed, hook),
        }  # fmt: skip


def shares(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the share of SAEs within 2 % of their target, by architecture and target."""
    keys = dict.fromkeys((row["architecture"], row["target"]) for row in rows)
    result = []
    for variant, target in keys:
        misses = [abs(row["miss"]) for row in rows if (row["architecture"], row["target"]) == (variant, target)]
        result.append(
            {
                "architecture": variant,
                "target": target,
                "SAEs": len(misses),
                "within 2 %": float(np.mean(np.array(misses) <= WITHIN)),
            }
        )
    return result


def draw(work: Path) -> bytes:
    """Return the figure of the paths of all adjusted runs as PNG."""
    runs = find_runs(sorted(work.glob("*/adjusted")))
    return as_png(draw_controller(controller_rows(training_curves(runs), configurations(runs))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True, help="Store to train and measure on.")
    parser.add_argument("--variants", default=VARIANTS, help="Architectures, separated by commas.")
    parser.add_argument("--targets", default="20", help="Target L0, separated by commas.")
    parser.add_argument("--layers", default="4", help="Layers, separated by commas.")
    parser.add_argument(
        "--factors", default=FACTORS, help="Fixed coefficients, as multiples of the adjusted one's end."
    )
    parser.add_argument("--rows", type=int, default=256_000, help="Activations to train on.")
    parser.add_argument("--batch-size", type=int, default=256, help="Activations per step.")
    parser.add_argument("--expansion", type=float, default=4.0, help="Features per dimension.")
    parser.add_argument("--out", type=Path, help="JSON file of the tables.")
    parser.add_argument("--figure", type=Path, help="PNG file of the paths.")
    options = parser.parse_args()
    store, rows = open_store(options.store), list[dict[str, Any]]()
    heldout = Heldout(store, None)
    with tempfile.TemporaryDirectory() as folder:
        for variant in options.variants.split(","):
            for target in map(float, options.targets.split(",")):
                work = Path(folder) / f"{variant}-{target:g}"
                rows += compare(options, store, heldout, variant, target, work)
                print(json.dumps(rows[-1]), flush=True)
                if options.out:
                    settings = {
                        key: str(v) for key, v in vars(options).items() if key not in ("out", "store", "figure")
                    }
                    content = {"settings": settings, "rows": rows, "within": shares(rows)}
                    options.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
                if options.figure:
                    options.figure.write_bytes(draw(Path(folder)))
    print(table([{key: row[key] for key in row if key != "refused"} for row in rows]))
    print(table(shares(rows)))


if __name__ == "__main__":
    main()
