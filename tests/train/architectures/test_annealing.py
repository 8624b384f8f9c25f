"""The powers of p-annealing at each step, against exact fractions of the steps and NumPy's spacing of the powers."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from train.architectures.p_anneal import PAnnealSAE
from train.sae import LossInputs
from train.variants import PAnnealSettings


@pytest.mark.parametrize(
    ("after", "updates", "n_steps", "batch_size"),
    [(0, 2, 1, 64), (0, 10, 9, 64), (640, 10, 100, 64), (641, 10, 100, 64), (64, 5, 5, 64), (0, 1000, 1500, 1)],
)
def test_powers_fall_in_equal_steps_over_the_rest_of_the_training(
    after: int, updates: int, n_steps: int, batch_size: int
) -> None:
    settings = PAnnealSettings(anneal_after=after, p_updates=updates, p_end=0.2)
    sae = PAnnealSAE(d_model=2, d_sae=2, settings=settings)
    begin = -(-after // batch_size)
    set_after = np.array([begin + int(Fraction(i * (n_steps - begin), updates - 1)) for i in range(updates)])
    powers = np.linspace(1, 0.2, updates)
    for step in range(n_steps):
        inputs = cast(LossInputs, cast(Any, SimpleNamespace(step=step, n_steps=n_steps, rows=batch_size)))
        done = int((set_after < step).sum())
        assert sae.updates_before(inputs) == done
        assert sae.power(done) == pytest.approx(powers[done - 1] if done else 1)


def test_many_powers_take_no_time() -> None:
    sae = PAnnealSAE(d_model=2, d_sae=2, settings=PAnnealSettings(anneal_after=0, p_updates=10**12))
    inputs = cast(LossInputs, cast(Any, SimpleNamespace(step=10**6, n_steps=10**12, rows=1)))
    assert sae.updates_before(inputs) == pytest.approx(10**6, abs=1)
