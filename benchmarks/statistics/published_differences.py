"""The published differences in score at equal L0 on stories15M, by straight lines and by the monotone cubic.

    python benchmarks/statistics/published_differences.py

It reads docs/results/stories15M/ and prints the table in docs/statistics.md. The published differences were
interpolated linearly in log L0 between runs.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from analyze.statistics import curves
from analyze.statistics.curves import Scale
from analyze.statistics.jackknife import Float
from analyze.tables import markdown

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "stories15M"
MARGIN = 0.01  # of claim 4
FAMILIES = ("baseline", "nsae")


def read(name: str) -> list[dict[str, str]]:
    """Return the rows of a published table."""
    with open(RESULTS / f"{name}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def published_curves() -> dict[tuple[str, str], tuple[Float, Float]]:
    """Return L0 and score of each family's runs, noise off, ascending in L0, by hook and family."""
    values: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in read("patching"):
        if row["noise"] == "False" and row["measure"] in ("l0", "score"):
            runs = values.setdefault((row["hook"], row["variant"]), {})
            runs.setdefault(row["run"], {})[row["measure"]] = float(row["value"])
    points = {key: sorted((run["l0"], run["score"]) for run in runs.values()) for key, runs in values.items()}
    return {key: (np.array([l0 for l0, _ in curve]), np.array([y for _, y in curve])) for key, curve in points.items()}


def differences() -> list[dict[str, Any]]:
    """Return each published difference, NSAE less baseline, with what replaces it and whether it is refused now."""
    by_family, lines = published_curves(), list[dict[str, Any]]()
    for row in read("matched"):
        if row["measure"] != "score" or not row["l0"]:
            continue
        at, after, errors, refused = float(row["l0"]), dict[str, float](), list[float](), list[str]()
        for family in FAMILIES:
            l0, score = by_family[row["hook"], family]
            left = curves.bracket(l0, at)
            after[family] = float(curves.interpolate(l0, score, at, Scale.LOG_OF_REST, left))
            errors.append(curves.leave_one_out_error(l0, score, Scale.LOG_OF_REST, at))
            if curves.why_refused(l0, at) is not None:
                refused.append(f"{family} {l0[left]:.3g} to {l0[left + 1]:.3g}")
        lines.append({
            "layer": row["hook"].split(".")[1], "l0": at, "before": float(row["value"]),
            "after": after["nsae"] - after["baseline"], "leave_one_out_error": sum(errors),
            "refused": ", ".join(refused),
        })  # fmt: skip
    return lines


def main() -> None:
    moved = sorted(differences(), key=lambda line: -abs(line["after"] - line["before"]))
    rows = [
        [line["layer"], f"{line['l0']:.1f}", f"{line['before']:+.3f}", f"{line['after']:+.3f}",
         f"{abs(line['after'] - line['before']) / MARGIN:.1f}", f"{line['leave_one_out_error']:.3f}",
         line["refused"] or "–"]
        for line in moved
    ]  # fmt: skip
    heads = ["layer", "at L0", "before", "after", "moved by, margins", "leave-one-out error", "refused now: brackets"]
    print(markdown(heads, rows))


if __name__ == "__main__":
    main()
