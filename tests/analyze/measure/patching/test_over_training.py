"""Measures over training: the last snapshot is the run's end, and snapshots are paired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.measure.heldout import Heldout
from analyze.measure.patching.model import load_for_store
from analyze.measure.patching.over_training import (
    mean_over_replicas,
    over_training,
    snapshot_rows,
    std_over_snapshots,
)
from analyze.measure.patching.patch import patch
from analyze.runs.configurations import configurations
from analyze.runs.trained_run import all_hooks, find_runs
from analyze.statistics.estimates import Estimate, Key
from data import open_store
from tests.analyze.compare.equal_l0.made_up import HOOKS, family


def test_last_snapshot_has_the_measures_of_the_run(demo_runs: tuple[Path, list[Path]]) -> None:
    path, folders = demo_runs
    store, runs = open_store(path), find_runs(folders)[:3]
    model = load_for_store(store, all_hooks(runs), model="demo", device=torch.device("cpu"))
    heldout = Heldout(store, 3)
    over, final = over_training(model, heldout, runs), patch(model, heldout, runs)
    assert {key.measure for key in over} == {"score", "nats_lost", "kl", "l0"}
    for key, points in over.items():
        assert [rows for rows, _ in points] == sorted({rows for rows, _ in points})
        rows, last = points[-1]
        assert rows == 8_000 // 64 * 64
        assert last.value == final[key].value
        assert np.array_equal(last.replicates, final[key].replicates)
    assert len(snapshot_rows(over)) == sum(map(len, over.values()))
    scores = [e.value for key, points in over.items() if key.measure == "l0" for _, e in points]
    assert len(set(scores)) > len(scores) / 2  # the weights are not those of the end throughout


def test_unsteadiness_is_the_deviation_over_the_second_half() -> None:
    values = [9.0, 7, 1, 3]
    points = [(i, Estimate(v, np.array([v, 2 * v]), np.full(2, 0.5))) for i, v in enumerate(values)]
    deviation = std_over_snapshots(points)
    assert deviation.value == pytest.approx(1.0)
    assert deviation.replicates == pytest.approx([1.0, 2.0])


def test_replicas_have_a_mean_at_the_snapshots_that_all_of_them_have() -> None:
    first, second = runs = family("baseline", 2)
    over = {
        Key(first.name, HOOKS[0], False, "all", "kl"): [(10, Estimate(1.0)), (20, Estimate(2.0))],
        Key(second.name, HOOKS[0], False, "all", "kl"): [(20, Estimate(4.0))],
    }
    alike = configurations(runs)
    ((key, ((rows, estimate),)),) = mean_over_replicas(over, alike).items()
    assert (key.run, rows, estimate.value, estimate.n_seeds) == (alike[0].name, 20, 3.0, 2)
