"""Draw the figures of the documentation from the CSV in docs/results/ and the JSON in benchmarks/results/.

python docs/figures.py
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs/results"
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"


def table(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV in docs/results/."""
    with (RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def benchmark(name: str) -> list[dict[str, Any]]:
    """Return the rows of a benchmark's JSON."""
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))["rows"]


def save(figure: Figure, name: str) -> None:
    """Write a figure to docs/results/ and close it."""
    (RESULTS / name).parent.mkdir(exist_ok=True)
    figure.savefig(RESULTS / name, dpi=110, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)


def differences(name: str, measures: dict[str, str]) -> None:
    """Draw differences of two architectures at the same L0, with their intervals: a panel per measure, a colour per
    layer.
    """
    rows = table(f"{name}.csv")
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    figure, panels = pyplot.subplots(1, len(measures), figsize=(4.2 * len(measures), 3.2), layout="constrained")
    for panel, (measure, title) in zip(panels, measures.items(), strict=True):
        for i, layer in enumerate(layers):
            points = [row for row in rows if row["layer"] == layer]
            x, y, low, high = (
                [float(row[column]) for row in points]
                for column in ("at_l0", measure, f"{measure}_low", f"{measure}_high")
            )
            colour = pyplot.get_cmap("viridis")(0.95 * i / (len(layers) - 1))
            errors = [[b - a for a, b in zip(low, y, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
            panel.errorbar(x, y, errors, color=colour, marker="o", markersize=3, capsize=2, label=f"layer {layer}")
        panel.axhline(0, color=GREY, linewidth=0.8)
        panel.set(xscale="log", xlabel="L0", title=title, xticks=(5, 10, 20, 50), xticklabels=("5", "10", "20", "50"))
        panel.minorticks_off()
    panels[-1].legend(fontsize=7)
    save(figure, f"{name}.png")


def curves(name: str) -> None:
    """Draw explained variance against L0: a panel per layer, a line per architecture."""
    rows = table(f"{name}.csv")
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    figure, grid = pyplot.subplots(2, 3, figsize=(9, 5), layout="constrained", sharey=True)
    for panel, layer in zip(grid.flat, layers, strict=True):
        for variant, colour, marker in (("baseline", BLUE, "o"), ("NSAE", ORANGE, "s")):
            points = [row for row in rows if row["layer"] == layer and row["variant"] == variant]
            x, y = ([max(float(row[column]), 0.02) for row in points] for column in ("l0", "explained_variance"))
            panel.plot(x, y, color=colour, marker=marker, markersize=4, label=variant)
        panel.set(xscale="log", title=f"layer {layer}")
    grid[0][0].legend(fontsize=8)
    figure.supxlabel("L0 (active features per token)")
    figure.supylabel("explained variance")
    save(figure, f"{name}.png")


def warmup(name: str) -> None:
    """Draw explained variance with a sparsity warm-up against without: a point per SAE."""
    rows = table(f"{name}.csv")
    figure, panel = pyplot.subplots(figsize=(4, 3.6), layout="constrained")
    for alpha, colour in zip(dict.fromkeys(row["alpha"] for row in rows), (BLUE, ORANGE, GREEN, GREY), strict=False):
        points = [row for row in rows if row["alpha"] == alpha]
        x, y = ([float(row[f"explained_variance_{when}_warmup"]) for row in points] for when in ("without", "with"))
        panel.scatter(x, y, color=colour, s=18, label=f"α = {alpha}")
        for a, b, row in zip(x, y, points, strict=True):
            panel.annotate(row["layer"], (a, b), fontsize=6, xytext=(3, 2), textcoords="offset points")
    panel.plot([-0.1, 0.95], [-0.1, 0.95], color=GREY, linewidth=0.8)
    panel.set(xlabel="explained variance without warm-up", ylabel="with warm-up")
    panel.legend(fontsize=7)
    save(figure, f"{name}.png")


def steps() -> None:
    """Draw the time of a training step of each library, on a CPU and on a GPU."""
    cpu = {"ours": "this project", "by hand": "PyTorch, gradients by hand", "autograd": "PyTorch, autograd",
           "compiled": "PyTorch, compiled", "sparsify": "sparsify 1.3.3 (TopK)",
           "dictionary_learning": "dictionary_learning 0.1.0", "SAELens": "SAELens 6.54.12"}  # fmt: skip
    figure, panels = pyplot.subplots(1, 2, figsize=(9.5, 2.8), layout="constrained", sharey=True)
    for panel, name, title in (
        (panels[0], "train_step", "2 CPU cores (AVX2), float32"),
        (panels[1], "train_step_gpu", "one H200, bfloat16 products"),
    ):
        ms = {row["step"]: row["ms"] for row in benchmark(name)}
        bars(panel, {label: ms[step] for step, label in cpu.items()})
        panel.set(title=title, xlabel="ms per step, median")
    save(figure, "performance/train_step.png")


def bars(panel: Axes, values: dict[str, float]) -> None:
    """Draw horizontal bars with their values, the first one highlighted."""
    names = list(values)[::-1]
    colours = [GREY] * (len(names) - 1) + [BLUE]
    drawn = panel.barh(names, [values[name] for name in names], color=colours)
    panel.bar_label(drawn, fmt=lambda ms: f"{ms:.0f}" if ms > 10 else f"{ms:.2f}", padding=2)
    panel.margins(x=0.15)


def ground_truth(case: str) -> None:
    """Draw the measures at the true L0: a panel per measure, a line per architecture, a mark per scale.

    case: small or large, as in benchmarks/train/ground_truth.py.
    """
    rows = table(f"ground_truth/{case}.csv")
    runs = list(dict.fromkeys(row["run"] for row in rows))[::-1]
    measures = {"l0_over_true": "L0 / true L0", "explained_variance": "explained variance", "gamma": "γ",
                "recovered": "recovered", "false_features": "false features", "f1_matched": "F1 of pairs"}  # fmt: skip
    figure, panels = pyplot.subplots(1, len(measures), figsize=(12, 3.2), layout="constrained", sharey=True)
    scales = dict.fromkeys(row["scale"] for row in rows)
    marks = zip(scales, "o^s", (BLUE, ORANGE, GREEN), strict=False)
    for scale, marker, colour in marks:
        of_scale = {row["run"]: row for row in rows if row["scale"] == scale}
        for panel, (measure, title) in zip(panels, measures.items(), strict=True):
            panel.scatter([float(of_scale[run][measure]) for run in runs], runs, marker=marker, color=colour, s=22,
                          alpha=0.7, label=f"scale {float(scale):g}")  # fmt: skip
            panel.set(title=title)
            panel.grid(axis="y", linewidth=0.4)
    panels[0].axvspan(0.95, 1.05, color=GREY, alpha=0.2)
    for panel in (panels[0], panels[2]):
        panel.axvline(1, color="black", linewidth=0.8, linestyle=":")
    if len(scales) > 1:
        panels[-1].legend(fontsize=7)
    save(figure, f"ground_truth/{case}.png")


if __name__ == "__main__":
    curves("stories15M/trained")
    curves("smollm2-six/trained")
    differences(
        "stories15M/same_l0", {"explained_variance": "explained variance", "suppression": "suppression", "gamma": "γ"}
    )
    differences("smollm2-six/same_l0", {"explained_variance": "explained variance", "gamma": "γ", "score": "score"})
    warmup("smollm2-six/warmup")
    steps()
    ground_truth("small")
    ground_truth("large")
