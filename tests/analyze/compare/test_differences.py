"""Differences between families at equal L0, on made-up estimates for which the answers are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator
from scipy.special import stdtrit

from analyze.compare.curves import HELD_OUT, point_rows
from analyze.compare.differences import (
    NO_OVERLAP,
    BetterRow,
    MatchedRow,
    matched_rows,
    matched_table,
    which_is_better_by_layer,
)
from analyze.runs.configurations import configurations, of_configurations
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
    configured = Run(name, variant, lr, seed, "none", settings)
    run_settings = RunSettings(replace(experiment([HOOK], l1_warmup=l1_warmup), runs=(configured,)), provenance={})
    return TrainedRun(name, RunFolder(Path(name)), run_settings, trained=96)


GROUPS = 40
Points = dict[str, list[tuple[float, float]]]  # (L0, L2) of each variant's runs


def estimates_of(points: Points, noise: float = 0.0) -> tuple[Estimates, list[TrainedRun]]:
    """Return estimates of runs of each variant; all replicates of L2 share one shock, as paired ones do."""
    rng = np.random.default_rng(0)
    shock, shares = noise * rng.normal(size=GROUPS), np.full(GROUPS, 1 / GROUPS)
    runs, estimates = [], Estimates()
    for variant, of_variant in points.items():
        for i, (l0, l2) in enumerate(of_variant):
            name = f"{variant}{i}"
            runs.append(run(name, variant, 1 / (1 + i)))
            values = {"l0": Estimate(l0, np.full(GROUPS, l0), shares), "l2": Estimate(l2, l2 + shock, shares)}
            estimates |= {Key(name, HOOK, False, "all", measure): estimate for measure, estimate in values.items()}
    return estimates, runs


def l2_rows(points: Points, noise: float = 0.0) -> list[MatchedRow]:
    rows = matched_rows(*estimates_of(points, noise), HELD_OUT)
    return [row for row in rows if row.measure == "l2"]


def width_of(row: MatchedRow) -> float:
    assert row.low is not None
    assert row.high is not None
    return row.high - row.low


def test_runs_that_differ_only_in_alpha_and_seed_form_a_family() -> None:
    runs = [
        run("a", "nsae", 1),
        run("b", "nsae", 2, seed=1),
        run("c", "nsae", 1, l1_warmup=50),
        run("d", "baseline", 3),
    ]
    names = {name: [r.name for r in members] for name, members in families(runs).items()}
    assert names == {"nsae, l1_warmup 0": ["a", "b"], "nsae, l1_warmup 50": ["c"], "baseline": ["d"]}


CURVE = [(8.0, 3.0), (14.0, 2.0), (22.0, 1.2), (40.0, 1.0)]


def test_families_are_compared_at_the_l0_of_each_run_inside_the_others_range() -> None:
    rows = l2_rows({"baseline": CURVE, "nsae": [(10.0, 2.5), (14.1, 1.9), (60.0, 0.5)]})
    assert [row.l0 for row in rows] == pytest.approx([10.0, np.sqrt(14.0 * 14.1), 22.0, 40.0])


def test_curve_is_a_monotone_cubic_of_the_logarithms() -> None:
    row = l2_rows({"baseline": CURVE, "nsae": [(10.0, 2.5)]})[0]
    l0, l2 = np.log(CURVE).T
    assert row.at_first is not None
    assert row.interpolation_error is not None
    assert row.at_first == pytest.approx(np.exp(PchipInterpolator(l0, l2)(np.log(10.0))))
    assert row.value == pytest.approx(2.5 - row.at_first)
    linear = np.exp(np.interp(np.log(10.0), l0, l2))
    assert row.interpolation_error == pytest.approx(abs(row.at_first - linear) / 2)
    assert width_of(row) == pytest.approx(2 * row.interpolation_error)
    without_second = np.exp(PchipInterpolator(np.delete(l0, 1), np.delete(l2, 1))(l0[1]))
    assert row.leave_one_out_error == pytest.approx(abs(without_second - 2.0))


def test_runs_within_two_percent_are_compared_without_a_curve() -> None:
    rows = l2_rows({"baseline": [(20.0, 2.0)], "nsae": [(20.3, 1.5)]})
    assert [(row.value, row.interpolation_error) for row in rows] == [(-0.5, 0.0)]


def test_single_run_inside_the_other_familys_range_is_compared() -> None:
    (row,) = l2_rows({"baseline": CURVE, "nsae": [(17.0, 1.7)]})
    assert row.value is not None


def test_wide_brackets_and_short_curves_are_refused_with_the_reason() -> None:
    (wide,) = l2_rows({"baseline": [(8.0, 3.0), (14.0, 2.0), (40.0, 1.0)], "nsae": [(20.0, 1.5)]})
    assert wide.value is None
    assert "more than a factor of 2 apart" in wide.note
    (short_curve,) = l2_rows({"baseline": [(14.0, 2.0), (22.0, 1.0)], "nsae": [(20.0, 1.5)]})
    assert "a curve needs 3 runs" in short_curve.note
    assert "a curve needs 3 runs" in matched_table([short_curve])


def test_runs_that_do_not_overlap_are_never_extrapolated() -> None:
    rows = l2_rows({"baseline": [(1.0, 1.0), (2.0, 2.0)], "nsae": [(3.0, 1.0), (9.0, 2.0)]})
    assert [(row.l0, row.value, row.note) for row in rows] == [(None, None, NO_OVERLAP)]
    assert NO_OVERLAP in matched_table(rows)


def test_differences_of_runs_cancel_deviations_that_they_share() -> None:
    points = {"baseline": [(20.0, 20.0)], "nsae": [(20.0, 21.0)]}
    estimates, runs = estimates_of(points, noise=0.5)
    row = next(row for row in matched_rows(estimates, runs, HELD_OUT) if row.measure == "l2")
    assert width_of(row) < 1e-9
    low, high = estimates[Key("nsae0", HOOK, False, "all", "l2")].interval
    assert high - low > 5


def test_replicas_are_one_estimate_whose_interval_has_their_spread() -> None:
    estimates, runs = Estimates(), []
    for variant, values in (("baseline", (1.0, 1.1, 0.9)), ("nsae", (2.0, 2.2, 1.8))):
        for seed, l2 in enumerate(values):
            name = f"{variant}_seed={seed}"
            runs.append(run(name, variant, 1.0, seed=seed))
            for measure, value in (("l0", 20.0), ("l2", l2)):
                estimates[Key(name, HOOK, False, "all", measure)] = Estimate(
                    value, np.full(GROUPS, value), np.full(GROUPS, 1 / GROUPS)
                )
    row = next(row for row in matched_rows(estimates, runs, HELD_OUT) if row.measure == "l2")
    half_width = stdtrit(2, 0.975) * 0.1 / np.sqrt(3)  # the differences are 1.0, 1.1 and 0.9
    assert row.seeds == 3
    assert (row.low, row.high) == pytest.approx((1 - half_width, 1 + half_width))


def test_points_are_in_order_of_l0_without_runs_that_never_fire() -> None:
    estimates, runs = estimates_of({"baseline": [(5.0, 1.0), (2.0, 2.0)]})
    runs.append(run("silent", "baseline", 99.0))
    estimates |= {Key("silent", HOOK, False, "all", m): Estimate(0.0) for m in ("l0", "l2")}
    rows = point_rows(estimates, configurations(runs), HELD_OUT)
    assert [(row.run, row.l0) for row in rows] == [("baseline1", 2.0), ("baseline0", 5.0)]


def test_replicas_are_one_point_of_a_curve_whose_interval_has_their_spread() -> None:
    """With the seeds as points of their own, this curve would have three points at nearly the same L0."""
    alike = configurations([run(f"baseline_seed={seed}", "baseline", 0.1, seed=seed) for seed in range(3)])
    shares, l2 = np.full(40, 1 / 40), (1.0, 1.1, 1.3)
    values = {"l0": (9.9, 10.0, 10.1), "l2": l2}
    estimates = {
        Key(f"baseline_seed={seed}", HOOK, False, "all", measure): Estimate(value, np.full(40, value), shares)
        for measure, by_seed in values.items() for seed, value in enumerate(by_seed)
    }  # fmt: skip
    (row,) = point_rows(of_configurations(estimates, alike), alike, HELD_OUT)
    half_width = stdtrit(2, 0.975) * np.std(l2, ddof=1) / np.sqrt(3)
    assert (row.run, row.seeds) == ("baseline", 3)
    assert row.l0 == pytest.approx(10)
    assert (row.low, row.high) == pytest.approx((np.mean(l2) - half_width, np.mean(l2) + half_width))


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
    output = json.loads(done.stdout)
    assert {(p["family"], p["noise"]) for p in output["points"]} == {
        ("baseline", False), ("nsae", False), ("nsae", True),
    }  # fmt: skip
    assert {line["second"] for line in output["matched"]} == {"nsae"}
    assert len((out / "points.csv").read_text().splitlines()) == 1 + len(output["points"])
    assert len((out / "matched.csv").read_text().splitlines()) == 1 + len(output["matched"])
    for measure in ("l2", "explained_variance", "suppression", "gamma"):
        assert (out / f"{measure}.png").exists()
    assert "nsae − baseline" in command(*arguments).stdout


def test_layer_counts_as_better_if_all_its_l0_do_after_holms_correction() -> None:
    def row(hook: str, value: float | None, p: float | None, *, measure: str = "l2") -> MatchedRow:
        return MatchedRow(HELD_OUT, hook, "a", "b", measure, None, value=value, p=p)

    rows = [
        row("h0", 0.1, 0.01), row("h0", 0.3, 0.001), row("h1", -0.2, 0.001), row("h1", 0.1, 0.001),
        row("h2", -0.2, 1e-4), row("h3", None, None), row("h3", 0.1, None, measure="kl"),
        row("h4", 0.1, 0.03), row("h4", None, None),
    ]  # fmt: skip
    assert which_is_better_by_layer(rows) == [
        BetterRow(HELD_OUT, "a", "b", "l2", higher=["h0"], lower=["h2"], undecided=["h1", "h4"], not_compared=["h3"]),
        BetterRow(HELD_OUT, "a", "b", "kl", higher=[], lower=[], undecided=["h3"], not_compared=[]),
    ]
