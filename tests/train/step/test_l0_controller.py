from __future__ import annotations

import math

import pytest
import torch

from train.sae.l0_controller import ControlLaw, L0Controller

CPU = torch.device("cpu")


def test_coefficient_follows_the_stated_rule() -> None:
    targets, first, differential = [20.0, 5.0], [1e-3, 2e-2], 2.0
    observed = torch.tensor([[300.0, 0.0], [250.0, 3.0], [22.0, 5.5], [19.0, 60.0]])
    controller = L0Controller(ControlLaw(0.01, differential), targets, first, device=CPU)
    expected = [math.log(value) for value in first]
    mean: list[float] = [0.0, 0.0]
    before: list[float | None] = [None, None]
    for l0 in observed:
        controller.update(l0)
        for i, target in enumerate(targets):
            value = float(l0[i])
            mean[i] = value if mean[i] == 0 else 0.95 * mean[i] + 0.05 * value
            error = max(-1.0, min(1.0, math.log(max(mean[i], 1e-3) / target)))
            last = before[i]
            expected[i] += 0.01 * error + (0.0 if last is None else differential * (error - last))
            before[i] = error if mean[i] else None
    assert controller.log_value.tolist() == pytest.approx(expected, rel=1e-5)
    assert controller.values.tolist() == pytest.approx([math.exp(value) for value in expected], rel=1e-5)


def test_coefficient_without_a_target_stays() -> None:
    controller = L0Controller(ControlLaw(0.01, 1.0), [0.0, 20.0, 0.0], [1e-3, 1e-3, 0.0], device=CPU)
    for _ in range(5):
        controller.update(torch.tensor([100.0, 100.0, 100.0]))
    fixed, adjusted, none = controller.values.tolist()
    assert fixed == pytest.approx(1e-3)
    assert adjusted == pytest.approx(1e-3 * math.exp(0.05), rel=1e-5)
    assert none == 0


def test_setpoint_moves_only_near_the_target() -> None:
    controller = L0Controller(ControlLaw(-0.003, within=0.1), [20.0, 20.0], [20.0, 20.0], device=CPU)
    controller.update(torch.tensor([40.0, 21.0]))
    far, near = controller.values.tolist()
    assert far == pytest.approx(20)
    assert near == pytest.approx(20 * math.exp(-0.003 * math.log(1.05)), rel=1e-6)
