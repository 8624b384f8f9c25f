"""The summary's table: marks, means and notes, on made-up measurements whose true order is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from analyze.compare.equal_l0.matched import Matched, key_of
from analyze.compare.summary.lines import cell
from analyze.compare.summary.summary import Summary, SummaryCell
from analyze.compare.summary.table import as_text
from analyze.measure.firing import FeatureActivity, HeldoutFireCounts
from analyze.runs.settled import Drift
from analyze.statistics.estimates import Estimate
from analyze.statistics.jackknife import degrees_of_freedom
from analyze.statistics.trend import Trend
from analyze.tables import columns
from tests.analyze.compare.summary.made_up import HOOKS, MadeUp, Values, made_up

NATS: Mapping[str, float] = {"topk": 0.10, "relu": 0.102, "nsae": 0.13, "baseline": 0.15, "frozen": 0.05}


def nats(name: str, l0: float, layer: int) -> float:
    return NATS[name]


def variance(name: str, l0: float, layer: int) -> float:
    return 0.8 - NATS[name]


def constant(value: float) -> Values:
    return lambda name, l0, layer: value


BOTH = {"explained_variance": variance, "nats_lost": nats}


def marks(summary: Summary, measure: str, target: float | None = 40.0) -> dict[str, str]:
    return {line.family: line.cells[measure].mark for line in summary.lines if line.target == target}


def test_the_best_is_marked_those_that_hardly_differ_are_tied_and_worse_ones_are_not() -> None:
    made = made_up(["baseline", "nsae", "relu", "topk"], BOTH, seed_spread=0.004)
    for measure in BOTH:
        assert marks(made.summary(), measure) == {"topk": "best", "relu": "tied", "nsae": "", "baseline": ""}


def test_random_decoder_control_is_in_the_table_but_neither_best_nor_tied() -> None:
    summary = made_up(["nsae", "topk", "frozen"], BOTH).summary()
    assert marks(summary, "nats_lost") == {"topk": "best", "nsae": "", "frozen": ""}
    assert [line.note for line in summary.lines] == ["", "", "control, not ranked"]
    assert summary.lines[2].cells["nats_lost"].value == pytest.approx(0.05, abs=0.01)


def test_a_value_is_the_mean_over_layers_with_students_interval_over_documents_for_one_seed() -> None:
    made = made_up(["topk", "nsae"], BOTH, n_seeds=1)
    line = made.summary().lines[0]
    estimates = [made.held_out[key_of(made.sides[0].runs[0], hook, "explained_variance")] for hook in HOOKS]
    mean = np.mean([estimate.value for estimate in estimates])
    without = np.mean([estimate.replicates for estimate in estimates], axis=0)
    n = len(without)
    error = np.sqrt((n - 1) / n * np.square(without - without.mean()).sum())
    half = stats.t.ppf(0.975, degrees_of_freedom(estimates[0].shares)) * error
    cell = line.cells["explained_variance"]
    assert [cell.value, cell.low, cell.high] == pytest.approx([mean, mean - half, mean + half])
    assert line.l0 == pytest.approx(40)
    assert (line.seeds, line.layers) == (1, 4)


@pytest.mark.parametrize("nsae", [0.9, 1.1])
def test_gamma_is_best_nearest_to_1_from_either_side(nsae: float) -> None:
    gammas = {"topk": 0.98, "relu": 1.015, "nsae": nsae}
    made = made_up(list(gammas), {"gamma": lambda name, l0, layer: gammas[name], "explained_variance": constant(0.5)})
    assert marks(made.summary(), "gamma") == {"relu": "best", "topk": "tied", "nsae": ""}


def with_dead(made: MadeUp, dead: Mapping[str, Sequence[int]], hooks: Sequence[str] = HOOKS) -> MadeUp:
    """Return the same with the numbers of dead features of 100 by architecture, per seed; in other layers none."""
    fires = [
        FeatureActivity(
            run, hook, False,
            {"all": HeldoutFireCounts(
                5000, torch.arange(100) >= (dead[side.name][seed] if hook in hooks else 0), 0.0, 8
            )},
        )
        for side in made.sides
        for seed, run in enumerate(side.runs)
        for hook in HOOKS
    ]  # fmt: skip
    return replace(made, fires=fires)


def test_fewer_dead_features_are_better_with_an_interval_over_seeds() -> None:
    made = with_dead(
        made_up(["topk", "relu", "nsae"], BOTH), {"topk": [5, 7, 6], "relu": [6, 7, 6], "nsae": [50, 51, 52]}
    )
    summary = made.summary()
    assert marks(summary, "dead") == {"topk": "best", "relu": "tied", "nsae": ""}
    cell = summary.lines[0].cells["dead"]
    assert cell.value == pytest.approx(0.06)
    assert cell.low is not None
    assert cell.high is not None
    assert cell.low < 0.06 < cell.high
    assert {line.rows_counted for line in summary.lines} == {5000}
    assert [row.rows for row in summary.rows() if row.measure == "dead"] == [5000] * 3


def test_dead_shares_that_lie_in_one_layer_are_compared_by_their_means() -> None:
    made = made_up(["topk", "relu", "nsae"], BOTH)
    dead = {"topk": [0, 0, 0], "relu": [0, 0, 1], "nsae": [19, 20, 21]}
    summary = with_dead(made, dead, HOOKS[:1]).summary()
    assert marks(summary, "dead") == {"topk": "best", "relu": "tied", "nsae": ""}
    cell = summary.lines[2].cells["dead"]
    assert cell.value == pytest.approx(0.05)
    assert cell.low is not None
    assert cell.low > 0


def test_all_architectures_with_the_smallest_dead_share_are_the_best() -> None:
    for equal in ([5, 5, 5], [0, 0, 0]):
        made = with_dead(made_up(["topk", "relu", "nsae"], BOTH), {"topk": equal, "relu": equal, "nsae": [50, 51, 52]})
        assert marks(made.summary(), "dead") == {"topk": "best", "relu": "best", "nsae": ""}


def test_interval_of_dead_shares_has_no_negative_values() -> None:
    made = with_dead(made_up(["topk", "nsae"], BOTH), {"topk": [0, 0, 1], "nsae": [98, 100, 100]}, HOOKS[:1])
    cells = [line.cells["dead"] for line in made.summary().lines]
    assert (cells[0].low, cells[0].high is not None and cells[0].high > 0) == (0, True)
    assert all(cell.high is not None and cell.high <= 1 for cell in cells)


def test_dead_features_of_one_seed_have_neither_interval_nor_mark() -> None:
    summary = with_dead(made_up(["topk", "nsae"], BOTH, n_seeds=1), {"topk": [5], "nsae": [50]}).summary()
    cells = [line.cells["dead"] for line in summary.lines]
    assert [cell.value for cell in cells] == pytest.approx([0.05, 0.5])
    assert {(cell.low, cell.high, cell.mark) for cell in cells} == {(None, None, "")}


def test_negative_explained_variance_is_ranked_like_any_other() -> None:
    made = made_up(["topk", "nsae"], {"explained_variance": lambda name, l0, layer: -0.5 if name == "nsae" else 0.3})
    summary = made.summary()
    assert marks(summary, "explained_variance") == {"topk": "best", "nsae": ""}
    assert summary.lines[1].cells["explained_variance"].value == pytest.approx(-0.5, abs=0.01)


def without(made: MadeUp, family: str, measure: str, hooks: Sequence[str]) -> MadeUp:
    """Return the same with NaN in place of a measure of an architecture at hooks."""
    (side,) = (side for side in made.sides if side.name == family)
    unknown = {
        key_of(run, hook, measure): replace(made.held_out[key_of(run, hook, measure)], value=np.nan)
        for run in side.runs for hook in hooks
    }  # fmt: skip
    return replace(made, held_out={**made.held_out, **unknown})


def test_a_layer_where_a_value_is_nan_counts_for_no_architecture() -> None:
    made = made_up(["topk", "nsae"], {"explained_variance": lambda name, l0, layer: 0.8 if layer else 0.0})
    summary = without(made, "nsae", "explained_variance", HOOKS[:1]).summary()
    assert [line.cells["explained_variance"].value for line in summary.lines] == pytest.approx([0.8, 0.8], abs=0.01)


def test_a_measure_that_is_nan_everywhere_is_an_empty_cell_without_marks() -> None:
    made = made_up(["topk", "nsae"], {"explained_variance": variance, "gamma": constant(0.9)})
    summary = without(made, "nsae", "gamma", HOOKS).summary()
    assert summary.lines[1].cells["gamma"] == SummaryCell(None, None, None)
    assert marks(summary, "gamma") == {"topk": "", "nsae": ""}
    assert marks(summary, "explained_variance") == {"topk": "best", "nsae": ""}


def test_layers_that_one_architecture_lacks_are_left_out_for_all() -> None:
    made = made_up(["topk", "nsae", "relu"], {"nats_lost": lambda name, l0, layer: 0.1 * (1 + layer)},
                  hooks_of={"relu": HOOKS[1:]})  # fmt: skip
    summary = made.summary()
    assert [line.layers for line in summary.lines] == [3, 3, 3]
    assert [line.cells["nats_lost"].value for line in summary.lines] == pytest.approx([0.3] * 3, abs=0.01)


def test_an_architecture_in_few_layers_is_not_ranked_and_leaves_the_layers_to_the_others() -> None:
    summary = made_up(["topk", "nsae", "relu"], BOTH, hooks_of={"relu": HOOKS[3:]}).summary()
    assert [line.layers for line in summary.lines] == [4, 4, 1]
    assert marks(summary, "nats_lost") == {"topk": "best", "nsae": "", "relu": ""}
    assert summary.lines[2].note == "compared in 1 of 4 layers, not ranked"
    assert summary.sentences[-1] == "Not ranked: relu (compared in 1 of 4 layers)."


def test_two_architectures_are_compared_in_the_layers_that_both_have() -> None:
    summary = made_up(["topk", "nsae"], BOTH, hooks_of={"nsae": HOOKS[3:]}).summary()
    assert marks(summary, "nats_lost") == {"topk": "best", "nsae": ""}
    assert [line.layers for line in summary.lines] == [1, 1]


def test_unfinished_runs_are_not_ranked() -> None:
    summary = made_up(["topk", "nsae", "relu"], BOTH, unfinished=["topk"]).summary()
    assert marks(summary, "nats_lost") == {"topk": "", "nsae": "", "relu": "best"}
    assert summary.lines[0].note == "unfinished in 4 of 4 layers, not ranked"


def test_unsettled_layers_decide_nothing_and_are_named_in_the_note() -> None:
    made = made_up(["topk", "nsae"], BOTH)
    moving = [Drift(made.sides[1].runs[0].name, hook, "l0", Trend(0.5, 0.01, 1.0, 100)) for hook in HOOKS[:2]]
    summary = made.summary(moving)
    assert marks(summary, "nats_lost") == {"topk": "best", "nsae": "tied"}  # two layers are not most of four
    assert summary.lines[1].note == "not settled in 2 of 4 layers"
    assert marks(made.summary(moving[:1]), "nats_lost") == {"topk": "best", "nsae": ""}


def test_runs_that_miss_their_target_are_listed_with_their_own_l0() -> None:
    made = made_up(["topk", "nsae", "relu"], BOTH, measured_l0=lambda name, l0, layer: 50.0 if name == "relu" else l0)
    line = made.summary().lines[2]
    assert (line.family, line.target) == ("relu", 40.0)
    assert line.l0 == pytest.approx(50.0)
    assert line.note == "misses this L0 in all layers, not compared"
    assert line.cells["nats_lost"].mark == ""
    assert line.cells["nats_lost"].value == pytest.approx(0.102, abs=0.01)


def test_architectures_without_a_shared_target_are_compared_where_their_curves_meet() -> None:
    made = made_up(["nsae", "relu"], BOTH, l0_values=[20.0, 35.0, 60.0],
                  measured_l0=lambda name, l0, layer: l0 * (1.3 if name == "relu" else 1.0))  # fmt: skip
    summary = made.summary(l0_values=[])
    (l0,) = summary.l0_values
    assert 26 <= l0 <= 60
    assert marks(summary, "nats_lost", l0) == {"nsae": "", "relu": "best"}
    assert ", and values of nsae are interpolated between runs" in summary.sentences[1]


def test_rows_are_numbers_or_null_and_the_text_has_a_row_per_line() -> None:
    made = without(made_up(["topk", "nsae", "frozen"], BOTH), "nsae", "explained_variance", HOOKS)
    summary = made.summary()
    rows = json.loads(json.dumps([columns(row) for row in summary.rows()], allow_nan=False))
    assert len(rows) == 3 * 2
    assert [row["family"] for row in rows[::2]] == ["topk", "nsae", "frozen"]
    table = [line for line in as_text(summary).splitlines() if line.startswith("|")]
    assert len(table) == 2 + 3
    assert "(best)" in table[2]


def test_an_exact_count_has_no_interval_although_its_sums_are_rounded() -> None:
    shares = np.full(7, 1 / 7)
    counts = [
        Matched({(0, 0): Estimate(value, value * (1 + np.linspace(-1, 1, 7) * 1e-16), shares)}, [])
        for value in (0.1175, 0.2, 1 / 3)
    ]
    assert cell("dead", counts, "") == SummaryCell(float(np.mean([0.1175, 0.2, 1 / 3])), None, None)
