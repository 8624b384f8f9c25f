"""Made-up tables of a report: architectures at three target L0 in some layers, with three seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analyze.compare.curves import PointRow
from analyze.compare.layer_means import LayerMeanRow
from analyze.runs.training_curves import TrainingCurve

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
) -> tuple[list[PointRow], list[LayerMeanRow]]:
    """Return the tables `points` and `layer_means`. worst: factor on the KL of the last architecture."""
    rng = np.random.default_rng(0)
    points: list[PointRow] = []
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
                            points.append(PointRow(
                                sample, family, f"blocks.{layer}.hook_mlp_out", noise, f"{family}_target_l0={target:g}",
                                3, target, target * rng.normal(1, 0.01), measure, value, value - half_width,
                                value + half_width,
                            ))  # fmt: skip
    return points, _means(points, n_layers)


def _means(points: Sequence[PointRow], n_layers: int) -> list[LayerMeanRow]:
    groups: dict[tuple[str, bool, str], list[PointRow]] = {}
    for point in points:
        groups.setdefault((point.run, point.noise, point.measure), []).append(point)
    means = []
    for group in groups.values():
        p, columns = group[0], zip(*((p.l0, p.value, p.low, p.high) for p in group), strict=True)
        l0, *estimate = (math.fsum(numbers) / n_layers for numbers in columns)
        means.append(LayerMeanRow(
            p.sample, p.family, n_layers, p.noise, p.run, p.seeds, p.target, l0, p.measure, *estimate
        ))  # fmt: skip
    return means


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
