"""Curves over training, from what runs recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.runs.configurations import configurations
from analyze.runs.trained_run import find_runs
from analyze.runs.training_curves import (
    TrainingCurve,
    as_trained,
    curve_rows,
    mean_curves,
    rows_to_near_end,
    training_curves,
)
from tests.analyze.compare.equal_l0.made_up import family


def curve(values: list[float]) -> TrainingCurve:
    return TrainingCurve("r", "h", "heldout", False, "l2", [10 * (i + 1) for i in range(len(values))], values)


@pytest.mark.parametrize(
    ("values", "rows"),
    [([8, 4, 2, 1.05, 1], 40), ([1, 1, 1], 10), ([1, 5, 1], 30), ([2, 1.1, 0.8, 1], 40), ([3, 2, 0], None)],
)
def test_rows_to_near_end_is_where_a_curve_stays_within_a_tenth_of_its_last_value(
    values: list[float], rows: int | None
) -> None:
    assert rows_to_near_end(curve(values)) == rows


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30))
def test_rows_to_near_end_is_the_first_such_point(values: list[float]) -> None:
    one = curve(values)
    rows = rows_to_near_end(one)
    assert rows is not None
    after = one.rows.index(rows)
    assert all(abs(value / values[-1] - 1) <= 0.1 for value in values[after:])
    assert after == 0 or abs(values[after - 1] / values[-1] - 1) > 0.1


def test_training_curves_hold_the_values_of_metrics_jsonl(demo_runs: tuple[Path, list[Path]]) -> None:
    runs = find_runs(demo_runs[1])
    by_key = {(c.run, c.hook, c.split, c.noise, c.measure): c for c in training_curves(runs)}
    run = next(run for run in runs if run.variant == "nsae")
    records = [json.loads(line) for line in run.folder.metrics.read_text().splitlines()]
    expected = [
        (r["rows"], r["l0"]) for r in records
        if (r["split"], r["hook"], r["noise"]) == ("heldout", "blocks.4.hook_mlp_out", False)
    ]  # fmt: skip
    one = by_key[run.name, "blocks.4.hook_mlp_out", "heldout", False, "l0"]
    assert list(zip(one.rows, one.values, strict=True)) == expected
    assert len(expected) == 8
    assert len(curve_rows([one])) == 8


def test_curve_of_a_configuration_is_the_mean_of_its_replicas_at_the_rows_that_all_recorded() -> None:
    runs = [*family("baseline", 2), *family("nsae", 2)]
    curves = [
        TrainingCurve(runs[0].name, "h", "train", False, "l0", [10, 20, 30], [1.0, 2.0, 3.0]),
        TrainingCurve(runs[1].name, "h", "train", False, "l0", [10, 30], [3.0, 9.0]),
        TrainingCurve(runs[0].name, "h", "train", False, "loss", [10], [1.0]),  # the other seed has none
        TrainingCurve(runs[2].name, "h", "train", True, "l0", [10], [5.0]),
        TrainingCurve(runs[3].name, "h", "train", True, "l0", [20], [5.0]),
    ]
    (mean,) = mean_curves(curves, configurations(runs))
    assert (mean.run, mean.measure, mean.rows, mean.values) == (
        configurations(runs)[0].name, "l0", [10, 30], [2.0, 6.0]
    )  # fmt: skip


def test_as_trained_takes_noise_on_of_runs_with_noise_and_the_split_recorded_more_often() -> None:
    def recorded(run: str, split: str, noise: bool, n: int) -> TrainingCurve:
        return TrainingCurve(run, "h", split, noise, "l0", list(range(n)), [1.0] * n)

    batches = [recorded("plain", "train", False, 3), recorded("noisy", "train", True, 3)]
    validations = [recorded(run, "heldout", noise, 2) for run, noise in (("plain", False), ("noisy", True))]
    off = recorded("noisy", "heldout", False, 2)
    assert as_trained([*batches, *validations, off]) == batches
    assert as_trained([*validations, off]) == validations
