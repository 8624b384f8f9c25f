"""Made-up tables of a report: architectures at three target L0 in some layers, with three seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analyze.runs.training_curves import TrainingCurve
from analyze.tables import Row

ARCHITECTURES = (
    "baseline", "nsae", "relu", "gated", "topk", "batchtopk", "jumprelu", "matryoshka", "panneal",
)  # fmt: skip
TARGETS = (20.0, 40.0, 80.0)
MEASURES = {
    "held_out": ("explained_variance", "gamma", "suppression", "l2", "dead"),
    "patched": ("nats_lost", "score", "kl"),
}


def tables(
    n_layers: int = 6, architectures: Sequence[str] = ARCHITECTURES, *, model: bool = True, worst: float = 1.0
) -> dict[str, list[Row]]:
    """Return the tables `points` and `layer_means`. worst: factor on the KL of the last architecture."""
    rng = np.random.default_rng(0)
    lines: list[Row] = []
    for i, family in enumerate(architectures):
        for layer in range(n_layers):
            for noise in (False, True) if family == "nsae" else (False,):
                for target in TARGETS:
                    loss = (0.5 + 0.1 * i + 0.2 * layer) / target**0.7 * (1.3 if noise else 1) * rng.normal(1, 0.03)
                    values = {
                        "explained_variance": 1 - loss, "gamma": 1 - loss / 3, "suppression": 1 - loss / 2,
                        "l2": 0.1 * loss, "dead": 0.05 + 0.02 * i, "nats_lost": loss / 2, "score": 1 - loss / 4,
                        "kl": loss * (worst if i == len(architectures) - 1 else 1),
                    }  # fmt: skip
                    for sample, measures in MEASURES.items():
                        for measure in measures if model or sample == "held_out" else ():
                            value = values[measure]
                            half_width = 0.06 * abs(value - round(value)) + 0.001
                            lines.append({
                                "sample": sample, "family": family, "hook": f"blocks.{layer}.hook_mlp_out",
                                "noise": noise, "run": f"{family}_target_l0={target:g}", "seeds": 3, "target": target,
                                "l0": target * rng.normal(1, 0.01), "measure": measure, "value": value,
                                "low": value - half_width, "high": value + half_width,
                            })  # fmt: skip
    return {"points": lines, "layer_means": _means(lines, n_layers)}


def _means(lines: Sequence[Row], n_layers: int) -> list[Row]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for line in lines:
        groups.setdefault((line["run"], str(line["noise"]), line["measure"]), []).append(line)
    averaged = ("l0", "value", "low", "high")
    return [
        {**{key: value for key, value in group[0].items() if key != "hook"}, "layers": n_layers,
         **{key: math.fsum(line[key] for line in group) / n_layers for key in averaged}}
        for group in groups.values()
    ]  # fmt: skip


def training(n_layers: int = 6, architectures: Sequence[str] = ARCHITECTURES, n: int = 200) -> list[TrainingCurve]:
    """Return curves of L0, explained variance and loss of each configuration."""
    curves = []
    for i, family in enumerate(architectures):
        for layer in range(n_layers):
            for target in TARGETS:
                rows = [1000 * (step + 1) for step in range(n)]
                decay = [math.exp(-step / (10 + 5 * i)) for step in range(n)]
                values = {
                    "l0": [target * (1 + 5 * rest) for rest in decay],
                    "explained_variance": [0.9 - 0.5 * rest - 2 / target for rest in decay],
                    "loss": [0.1 * (i + 1) + 3 * rest for rest in decay],
                }
                curves += [
                    TrainingCurve(
                        f"{family}_target_l0={target:g}", f"blocks.{layer}.hook_mlp_out", "train", False, measure, rows,
                        of_measure,
                    )
                    for measure, of_measure in values.items()
                ]  # fmt: skip
    return curves
