"""Coverage of the interval of a mean over layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analyze.statistics.replicas import variances, variances_over_layers
from benchmarks.statistics.simulations import Row


def means_over_layers(rng: np.random.Generator, repeats: int) -> list[Row]:
    """Coverage for the mean over layers, where all layers vary alike over seeds, and where one varies 5 times as much.

    Beside the interval are those of the same variance with layers × (seeds − 1) degrees of freedom, and of each seed's
    mean over the layers.
    """
    rows = []
    for n_layers in (3, 6, 12):
        for n_seeds in (2, 3, 5):
            for largest in (1, 5):
                spread = np.array([largest, *[1] * (n_layers - 1)])[:, None]
                shares, none = np.empty(0), np.empty((n_layers, n_seeds, 0))
                cases = spread * rng.normal(size=(repeats, n_layers, n_seeds))
                parts = [variances_over_layers(case, none, shares) for case in cases]
                half_widths = {
                    "interval": [part.half_width() for part in parts],
                    "all layers alike": [replace(p, seed_degrees=n_layers * (n_seeds - 1)).half_width() for p in parts],
                    "each seed's mean": [variances(case.mean(axis=0), none[0], shares).half_width() for case in cases],
                }
                errors = np.abs(cases.mean(axis=(1, 2)))
                rows.append(
                    {"layers": n_layers, "seeds": n_seeds, "largest spread": largest}
                    | {name: float(np.mean(errors <= widths)) for name, widths in half_widths.items()}
                    | {f"width, over {name}": float(np.median(np.divide(half_widths["interval"], half_widths[name])))
                       for name in list(half_widths)[1:]}
                )  # fmt: skip
    return rows
