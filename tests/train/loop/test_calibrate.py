"""The selection of the largest pre-activations, from which thresholds are set."""

from __future__ import annotations

import pytest
import torch

from train.loop.calibrate import Largest, threshold_of


@pytest.mark.parametrize("n", [1, 7, 60, 5000])
def test_largest_of_values_in_parts_are_those_of_all_values(n: int) -> None:
    parts = torch.randn(40, 9, 5, generator=torch.Generator().manual_seed(0))
    parts[parts < -1] = -torch.inf
    largest = Largest(n)
    for part in parts:
        largest.add(part)
    finite = parts[parts.isfinite()].sort(descending=True).values
    assert torch.equal(largest.values().sort(descending=True).values, finite[:n])


def test_threshold_lies_between_the_last_active_value_and_the_next() -> None:
    assert threshold_of(torch.tensor([0.5, 3.0, 1.0, 2.0]), 2) == 1.5
    assert threshold_of(torch.tensor([0.5, 3.0]), 2) == 0
