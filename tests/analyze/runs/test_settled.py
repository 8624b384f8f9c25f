from __future__ import annotations

import numpy as np
import pytest

from analyze.runs.settled import Drift, drifts, has_settled, unsettled
from analyze.runs.training_curves import TrainingCurve
from tests.analyze.compare.claims.made_up import RUNS

RUN = RUNS[0]
ROWS = np.linspace(0, RUN.planned, 201)[1:]


def changes(measure: str, values: np.ndarray, *, hook: str = "blocks.3.hook_mlp_out", split: str = "train") -> Drift:
    curve = TrainingCurve(RUN.name, hook, split, False, measure, ROWS.tolist(), values.tolist())
    (drift,) = drifts([curve], [RUN])
    return drift


def test_change_is_that_of_the_last_tenth_relative_to_its_mean() -> None:
    l0 = np.where(0.9 * RUN.planned < ROWS, 20 + 2 * (ROWS / RUN.planned - 0.9) / 0.1, 300.0)  # 20 to 22 at the end
    drift = changes("l0", l0)
    assert drift.trend is not None
    assert drift.trend.points == 20
    assert drift.trend.change == pytest.approx(2 / l0[-20:].mean())
    assert drift.settled is False


def test_change_of_explained_variance_is_relative_to_the_unexplained_share() -> None:
    drift = changes("explained_variance", 0.8 + 0.004 * ROWS / RUN.planned / 0.1)
    assert drift.trend is not None
    assert drift.trend.change == pytest.approx(0.004 / (1 - 0.8 - 0.004 * 9.525), rel=1e-3)
    assert drift.settled is True


def test_noise_that_hides_the_change_leaves_settledness_unknown() -> None:
    noise = np.random.default_rng(0).normal(0, 6, len(ROWS))
    assert changes("l0", 20 + noise).settled is None
    assert changes("l0", 20 + noise / 100).settled is True


def test_few_points_leave_settledness_unknown() -> None:
    curve = TrainingCurve(RUN.name, "h", "train", False, "l0", [int(RUN.planned * 0.95), RUN.planned], [5.0, 9.0])
    (drift,) = drifts([curve], [RUN])
    assert drift.settled is None
    assert drift.row().points == 0


def test_constant_l0_of_zero_leaves_settledness_unknown() -> None:
    assert changes("l0", np.zeros(len(ROWS))).settled is None


def test_run_settles_only_if_every_layer_and_measure_does() -> None:
    rising, steady = 20 + 60 * ROWS / RUN.planned, np.full(len(ROWS), 0.5)
    measured = [
        changes("l0", rising, hook="blocks.3.hook_mlp_out"),
        changes("explained_variance", steady, hook="blocks.3.hook_mlp_out"),
        changes("l0", np.full(len(ROWS), 8.0), hook="blocks.4.hook_mlp_out"),
        changes("explained_variance", steady, hook="blocks.4.hook_mlp_out"),
    ]
    assert has_settled(measured, RUN.name) is False
    assert has_settled(measured, RUN.name, "blocks.4.hook_mlp_out") is True
    assert unsettled(measured, [RUN]) == f"{RUN.name}: L0 +8% in layer 3"
    assert unsettled(measured, [RUN], "blocks.4.hook_mlp_out") == ""
    assert has_settled(measured, "another run") is None


def test_loss_does_not_decide() -> None:
    measured = [changes("loss", 1 + ROWS / RUN.planned), changes("l0", np.full(len(ROWS), 8.0))]
    assert has_settled(measured, RUN.name) is True
    assert measured[0].row().settled is None


def test_validations_are_left_out() -> None:
    curve = TrainingCurve(RUN.name, "h", "heldout", False, "l0", ROWS.tolist(), ROWS.tolist())
    assert drifts([curve], [RUN]) == []
