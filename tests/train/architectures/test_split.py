"""The gradients of ranks that split a batch add up to those of the whole batch, in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from data.system.torchrun import RankPlace
from tests.helpers.processes.torchrun import environments
from tests.helpers.processes.zygote import Zygote
from tests.train.architectures.test_definition import (
    CASES,
    CPU,
    F64,
    NAMES,
    ROWS,
    D,
    by_fast_step,
    loss_inputs,
    make_sae,
)
from train.ranks.group import joined
from train.sae import SAE, Gradients, LossInputs
from train.sae.batch_split import BatchSplit, split_among

RANKS = 2


def test_gradients_of_ranks_that_split_a_batch_add_up_to_those_of_the_whole_batch(
    zygote: Zygote, tmp_path: Path
) -> None:
    name = f"{__name__}:compare_all"
    ranks = [zygote.start(name, folder=tmp_path, environment=environment) for environment in environments(RANKS)]
    ended = [rank.wait() for rank in ranks]
    assert [rank.code for rank in ended] == [0] * RANKS, ended[0].stderr
    assert ended[0].stdout.split("\n")[:-1] == NAMES


def compare_all() -> None:
    """Compare all architectures; called by each rank."""
    place = RankPlace.from_environment()
    with joined(place) as ranks:
        split = split_among([range(place.size)], ranks, batch_size=ROWS, device=CPU)
        for (variant, options), name in zip(CASES, NAMES, strict=True):
            for bias, density in ((-1.2, 0.2), (0.3, 0.0)):  # on pairs where it can be, and on matrices
                compare(make_sae(variant, options, bias), make_sae(variant, options, bias), density, split)
            print(name)


def compare(whole: SAE, part: SAE, density: float, split: BatchSplit) -> None:
    """Compare the gradients of a batch, and what an SAE learns from it beside them, with those of its parts."""
    x = torch.randn(ROWS, D, generator=torch.Generator().manual_seed(1), dtype=F64)
    step = loss_inputs(x, whole)
    expected, _, whole_after = by_fast_step(whole, x, step, rows=8, density=density)
    summed, part_after = by_parts(part, x[split.rows], step, density, split)
    for name, gradient in expected.by_name.items():
        torch.testing.assert_close(summed[name], gradient, rtol=1e-10, atol=1e-12)
    for name in whole.untrained:
        torch.testing.assert_close(getattr(part_after, name), getattr(whole_after, name), rtol=1e-10, atol=1e-12)


def by_parts(sae: SAE, x: torch.Tensor, step: LossInputs, density: float, split: BatchSplit) -> tuple[Gradients, SAE]:
    epsilon = None if step.epsilon is None else step.epsilon[split.rows]
    out, _, after = by_fast_step(sae, x, replace(step, epsilon=epsilon, split=split), rows=8, density=density)
    split.sum_(*out.tensors())
    return out, after
