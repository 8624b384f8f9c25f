"""Up to which share of active features a step on pairs is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.loop import tune_density
from train.loop.memory_plan import MemoryPlan
from train.loop.tune_density import step_seconds
from train.step.encode import Encoder
from train.step.gpu.cuda_graph import make_step
from train.step.gradients import Forward

CPU = torch.device("cpu")
SHARES = (0.01, 0.02, 0.04)


@given(st.lists(st.tuples(st.floats(1, 9), st.floats(1, 9)), min_size=3, max_size=3))
def test_break_even_density_is_the_last_one_below_which_sparse_steps_were_always_faster(
    times: list[tuple[float, float]],
) -> None:
    of = dict(zip(SHARES, times, strict=True))
    density = tune_density.break_even_density(lambda share, below: of[share][0 if below else 1], SHARES)
    assert all(of[share][0] < of[share][1] for share in SHARES if share <= density)
    after = [share for share in SHARES if share > density]
    assert not after or of[after[0]][0] >= of[after[0]][1]


def test_timed_steps_have_the_requested_density_and_method(monkeypatch: pytest.MonkeyPatch) -> None:
    one: Any = "one"
    other: Any = "other"
    plan = MemoryPlan(
        stacks=((one, other),), d_model=64, d_sae=400, max_stack=2, block_rows=256, grad_chunk_features=400,
        noise_rows=256,
        n_noises=1, compute=torch.float32, keep_derivative=False, max_sparse_density=0.0, fused=False,
    )  # fmt: skip
    seen: list[tuple[torch.Tensor, float]] = []

    def watched(encoder: Encoder, **options: Any) -> Callable[..., Forward]:
        def step(*arguments: Any) -> Forward:
            forward = make_step(encoder, **options)(*arguments)
            seen.append((forward.fires.double() / 256, encoder.workspace.max_sparse_density))
            return forward

        return step

    monkeypatch.setattr(tune_density, "make_step", watched)
    seconds = step_seconds(plan, CPU)
    for share, below in ((0.01, 1.0), (0.05, 0.0)):
        seen.clear()
        assert seconds(share, below) > 0
        for rates, way in seen:
            assert rates.shape == (2, 400)
            assert float(rates.mean()) == pytest.approx(share, rel=0.2)
            assert float(rates.max()) > 10 * share or float(rates.max()) > 0.4  # the tail that kernels wait for
            assert way == below


def test_all_steps_are_dense_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tune_density, "has_triton", lambda: False)
    no_plan: Any = None
    assert tune_density.measure_break_even(no_plan, CPU) == 0.0
    assert "steps are dense" in capsys.readouterr().err
