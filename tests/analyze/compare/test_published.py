"""The published differences at equal L0, interpolated again by SciPy."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

SCRIPT = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "statistics" / "published_differences.py"))


def test_published_differences_move_under_a_monotone_cubic_and_are_refused_now() -> None:
    curves, lines = SCRIPT["published_curves"](), SCRIPT["differences"]()
    for line in lines:
        of_family = {}
        for family in ("baseline", "nsae"):
            l0, score = curves[f"blocks.{line['layer']}.hook_mlp_out", family]
            cubic = PchipInterpolator(np.log(l0), np.log(1 - score))
            of_family[family] = 1 - np.exp(cubic(np.log(line["l0"])))
        assert line["after"] == pytest.approx(of_family["nsae"] - of_family["baseline"])
    moved = [line for line in lines if abs(line["after"] - line["before"]) > SCRIPT["MARGIN"]]
    assert {line["layer"] for line in moved} == {"1", "2", "3", "4"}
    assert (len(moved), len(lines)) == (4, 18)
    assert all(line["refused"] for line in lines)
