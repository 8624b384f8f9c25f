"""Curves of measures against L0, on made-up estimates for which the answers are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from analyze.compare.pareto import (
    HELD_OUT,
    MATCHED_SHARES,
    curve_lines,
    difference_lines,
    difference_table,
    pareto_curves,
    which_is_better_by_layer,
)
from analyze.runs.configurations import Configuration, configurations, of_configurations
from analyze.runs.families import families
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, Estimates, Key
from tests.analyze.experiments import experiment
from tests.helpers.fixture_types import Command, MakeStore, TrainSmall
from train.experiment import Run
from train.output.run_folder import RunFolder
from train.output.settings import RunSettings
from train.variants import BaselineSettings, NSAESettings

HOOK = "blocks.0.hook_mlp_out"


def run(name: str, variant: str, l1: float, *, seed: int = 0, lr: float = 1e-3, l1_warmup: int = 0) -> TrainedRun:
    settings = {"nsae": NSAESettings(l1, 0, 1.0), "baseline": BaselineSettings(l1, 0)}[variant]
    own = Run(name, variant, lr, seed, "none", settings)
    run_settings = RunSettings(replace(experiment([HOOK], l1_warmup=l1_warmup), runs=(own,)), provenance={})
    return TrainedRun(name, RunFolder(Path(name)), run_settings, trained=96)


def estimates_of(
    points: dict[str, list[tuple[float, float]]], noise: float = 0.0
) -> tuple[Estimates, list[Configuration]]:
    """Runs of each variant at (L0, L2); all replicates of L2 share one shock, as paired ones do."""
    rng = np.random.default_rng(0)
    shock, shares = noise * rng.normal(size=500), np.full(500, 1 / 500)
    runs, found = [], Estimates()
    for variant, several in points.items():
        for i, (l0, l2) in enumerate(several):
            name = f"{variant}{i}"
            runs.append(run(name, variant, 1 / l0))
            values = {"l0": Estimate(l0, np.full(500, l0), shares), "l2": Estimate(l2, l2 + shock, shares)}
            found |= {Key(name, HOOK, False, "all", measure): estimate for measure, estimate in values.items()}
    return found, configurations(runs)


def test_runs_that_differ_only_in_alpha_and_seed_form_a_family() -> None:
    runs = [
        run("a", "nsae", 1),
        run("b", "nsae", 2, seed=1),
        run("c", "nsae", 1, l1_warmup=50),
        run("d", "baseline", 3),
    ]
    found = {name: [r.name for r in members] for name, members in families(runs).items()}
    assert found == {"nsae, l1_warmup 0": ["a", "b"], "nsae, l1_warmup 50": ["c"], "baseline": ["d"]}


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_measures_that_are_linear_in_log_l0_are_compared_exactly(slope: float, offset: float) -> None:
    a = [(l0, 1 + slope * np.log(l0)) for l0 in (2.0, 9.0, 30.0)]
    b = [(l0, 1 + offset + slope * np.log(l0)) for l0 in (50.0, 11.0, 5.0)]
    lines = [
        line
        for line in difference_lines(*estimates_of({"baseline": a, "nsae": b}), HELD_OUT)
        if line["measure"] == "l2"
    ]
    assert [line["l0"] for line in lines] == pytest.approx([5 * 6**place for place in MATCHED_SHARES])
    for line in lines:
        assert line["value"] == pytest.approx(offset, abs=1e-9)
        assert line["at_first"] == pytest.approx(1 + slope * np.log(line["l0"]), abs=1e-9)


def test_runs_that_do_not_overlap_are_never_extrapolated() -> None:
    found = difference_lines(
        *estimates_of({"baseline": [(1.0, 1.0), (2.0, 2.0)], "nsae": [(3.0, 1.0), (9.0, 2.0)]}), HELD_OUT
    )
    assert {line["l0"] for line in found} == {None}
    assert {line["value"] for line in found} == {None}
    assert "no overlap" in difference_table(found)


def test_differences_of_runs_cancel_deviations_that_they_share() -> None:
    points = {"baseline": [(1.0, 1.0), (9.0, 2.0)], "nsae": [(2.0, 1.0), (8.0, 2.0)]}
    estimates, runs = estimates_of(points, noise=10.0)
    line = next(line for line in difference_lines(estimates, runs, HELD_OUT) if line["measure"] == "l2")
    assert line["high"] - line["low"] < 1e-9
    low, high = estimates[Key("nsae0", HOOK, False, "all", "l2")].interval
    assert high - low > 10


def test_pareto_curves_are_in_order_of_l0_without_runs_that_never_fire() -> None:
    estimates, runs = estimates_of({"baseline": [(5.0, 1.0), (2.0, 2.0)]})
    runs += configurations([run("silent", "baseline", 99.0)])
    estimates |= {Key("silent", HOOK, False, "all", m): Estimate(0.0) for m in ("l0", "l2")}
    (curve,) = pareto_curves(estimates, runs)
    assert curve.configurations == ["baseline1", "baseline0"]
    assert [line["l0"] for line in curve_lines(estimates, runs, HELD_OUT)] == [2.0, 5.0]


def test_replicas_are_one_point_of_a_curve_whose_interval_has_their_spread() -> None:
    """With the seeds as points of their own, this curve would have three points at nearly the same L0."""
    own = configurations([run(f"baseline_seed={seed}", "baseline", 0.1, seed=seed) for seed in range(3)])
    shares, l2 = np.full(40, 1 / 40), (1.0, 1.1, 1.3)
    values = {"l0": (9.9, 10.0, 10.1), "l2": l2}
    estimates = {
        Key(f"baseline_seed={seed}", HOOK, False, "all", measure): Estimate(value, np.full(40, value), shares)
        for measure, by_seed in values.items() for seed, value in enumerate(by_seed)
    }  # fmt: skip
    (line,) = curve_lines(of_configurations(estimates, own), own, HELD_OUT)
    half_width = stdtrit(2, 0.975) * np.std(l2, ddof=1) / np.sqrt(3)
    assert (line["run"], line["seeds"], line["l0"]) == ("baseline", 3, pytest.approx(10))
    assert (line["low"], line["high"]) == pytest.approx((np.mean(l2) - half_width, np.mean(l2) + half_width))


@pytest.fixture
def trained(make_store: MakeStore, train_small: TrainSmall) -> tuple[Path, Path]:
    store, _, _ = make_store(n_contexts=80, n_heldout=20, widths={HOOK: 16, "blocks.1.hook_mlp_out": 16})
    return store.path, train_small(store, "--variant", "baseline,nsae", "--l1", "1e-4,1e-2", "--lr", "1e-3")


@pytest.mark.usefixtures("blank_figures")
def test_analyze_pareto_writes_points_comparisons_and_one_figure_per_measure(
    trained: tuple[Path, Path], command: Command, tmp_path: Path
) -> None:
    path, runs = trained
    out = tmp_path / "pareto"
    arguments = ("analyze", "pareto", "--store", path, runs, "--without-model", "--device", "cpu")
    done = command(*arguments, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {(p["family"], p["noise"]) for p in found["points"]} == {
        ("baseline", False), ("nsae", False), ("nsae", True),
    }  # fmt: skip
    assert {line["second"] for line in found["matched"]} == {"nsae"}
    assert len((out / "points.csv").read_text().splitlines()) == 1 + len(found["points"])
    assert len((out / "matched.csv").read_text().splitlines()) == 1 + len(found["matched"])
    for measure in ("l2", "explained_variance", "suppression", "gamma"):
        assert (out / f"{measure}.png").exists()
    assert "nsae − baseline" in command(*arguments).stdout


@pytest.mark.filterwarnings("error")
def test_run_that_never_fires_without_a_document_is_not_on_the_curve_without_it() -> None:
    points = {"baseline": [(1.0, 5.0), (10.0, 3.0), (100.0, 1.0)]}
    found, runs = estimates_of(points)
    never = found[Key("baseline0", HOOK, False, "all", "l0")].replicates
    never[:250] = 0
    (curve,) = pareto_curves(found, runs)
    of_l2 = curve.points(found, "l2")
    low, between = curve.interpolate(10**0.5, of_l2), curve.interpolate(10**1.5, of_l2)
    assert (low.value, between.value) == pytest.approx((4.0, 2.0))
    assert low.replicates == pytest.approx([3.0] * 250 + [4.0] * 250)
    assert between.replicates == pytest.approx([2.0] * 500)


def test_winner_of_a_layer_needs_all_matched_l0_values_to_agree() -> None:
    def line(hook: str, low: float, high: float, *, l0: float | None = 10.0, measure: str = "l2") -> dict[str, Any]:
        return {
            "sample": HELD_OUT,
            "first": "a",
            "second": "b",
            "measure": measure,
            "hook": hook,
            "l0": l0,
            "low": low,
            "high": high,
        }

    lines = [
        line("h0", 0.1, 0.2), line("h0", 0.3, 0.4), line("h1", -0.2, -0.1), line("h1", -0.1, 0.1),
        line("h2", -0.2, -0.1), line("h2", -0.3, -0.2), line("h3", 0, 0, l0=None), line("h3", 1, 2, measure="kl"),
    ]  # fmt: skip
    pair = {"sample": HELD_OUT, "first": "a", "second": "b"}
    assert which_is_better_by_layer(lines) == [
        {**pair, "measure": "l2", "higher": ["h0"], "lower": ["h2"], "undecided": ["h1"],
         "no_overlap": ["h3"]},
        {**pair, "measure": "kl", "higher": ["h3"], "lower": [], "undecided": [],
         "no_overlap": []},
    ]  # fmt: skip
