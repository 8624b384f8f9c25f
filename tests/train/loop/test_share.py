"""The distribution of SAEs over ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from data.errors import InputError
from data.system.torchrun import RankPlace
from train.architectures import ARCHITECTURES
from train.command.grid import make_runs
from train.experiment import Experiment, Reports
from train.loop.memory_plan import MemoryPlan, make_plan
from train.loop.share import cuts, groups_of, share_of
from train.loss import Objective
from train.optim.schedule import Resampling, Schedule
from train.variants import Sizes

D_MODEL, LAYERS = 64, 12


def experiment(layers: int = LAYERS, **settings: tuple[Any, ...]) -> Experiment:
    """Two runs, one of whose architectures is trained by autograd, on 12 layers: 24 SAEs."""
    settings = settings or {"variant": ("baseline", "topk"), "k": (4,)}
    return Experiment(
        store="", hooks=tuple(f"blocks.{i}.hook_mlp_out" for i in range(layers)),
        runs=tuple(make_runs((), settings, Sizes(4 * D_MODEL))), expansion=4,
        batch_size=4096, decoder_bias=True, init="scaled", clip=None, precision="float32", data_seed=0,
        objective=Objective(), schedule=Schedule(10**6), resampling=Resampling(10**7, 10**6, 0.0, 0, 64),
        reports=Reports(log_every=10**6, validate_every=10**6, validate_rows=64, window=10**6, snapshots=0),
    )  # fmt: skip


def shares(n: int, device: str) -> tuple[MemoryPlan, list[MemoryPlan]]:
    settings, where = experiment(), torch.device(device)
    plan = make_plan(settings, D_MODEL, where)
    return plan, [share_of(plan, settings, RankPlace(rank, n, n), where).plan for rank in range(n)]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("n", [1, 2, 5, 12, 24])
def test_each_sae_is_trained_by_one_rank(n: int, device: str) -> None:
    _, plans = shares(n, device)
    trained = [(entry.run.name, entry.layer) for plan in plans for stack in plan.stacks for entry in stack]
    assert len(trained) == len(set(trained)) == 2 * LAYERS


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("n", "most"), [(2, 6), (4, 3), (12, 1)])
def test_ranks_read_few_layers(n: int, most: int, device: str) -> None:
    _, plans = shares(n, device)
    assert max(len(plan.layers) for plan in plans) == most


@pytest.mark.parametrize("n", [2, 5, 24])
def test_ranks_step_the_same_stacks_as_one_process_on_a_cpu(n: int) -> None:
    whole, plans = shares(n, "cpu")
    assert {stack for plan in plans for stack in plan.stacks} == set(whole.stacks)
    assert {(plan.block_rows, plan.grad_chunk_features, plan.noise_rows) for plan in plans} == {
        (whole.block_rows, whole.grad_chunk_features, whole.noise_rows)
    }


def test_rank_stacks_its_saes_of_several_layers_on_a_gpu() -> None:
    _, plans = shares(2, "cuda")
    assert [[len(stack) for stack in plan.stacks] for plan in plans] == [[6, 6], [6, 6]]


def test_ranks_train_single_saes_of_a_sweep_in_one_layer_on_a_cpu() -> None:
    settings = experiment(1, variant=("baseline",), l1=(1e-4, 2e-4, 3e-4))
    plan = make_plan(settings, D_MODEL, torch.device("cpu"))
    shares = [share_of(plan, settings, RankPlace(rank, 2, 2), torch.device("cpu")) for rank in range(2)]
    assert [[[entry.run.l1 for entry in stack] for stack in share.plan.stacks] for share in shares] == [
        [[1e-4, 2e-4]], [[3e-4]]
    ]  # fmt: skip
    assert not any(share.groups for share in shares)


@pytest.mark.parametrize(
    ("costs", "n", "sizes"), [([1, 1], 3, [2, 1]), ([1, 2], 3, [1, 2]), ([1, 2], 4, [2, 2]), ([1, 2, 1], 9, [3, 4, 2])]
)
def test_more_ranks_than_saes_are_divided_by_the_cost_of_the_saes(costs: list[int], n: int, sizes: list[int]) -> None:
    groups = groups_of(costs, n)
    assert [len(group) for group in groups] == sizes
    assert [rank for group in groups for rank in group] == list(range(n))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_more_ranks_than_saes_train_one_sae_each(device: str) -> None:
    settings, where = experiment(), torch.device(device)
    plan = make_plan(settings, D_MODEL, where)
    trained = [share_of(plan, settings, RankPlace(rank, 30, 30), where) for rank in range(30)]
    assert all(share.plan.n_saes == 1 for share in trained)
    groups = trained[0].groups
    assert len(groups) == 24
    assert all(share.groups == groups for share in trained)
    assert all(len({trained[rank].plan.stacks for rank in group}) == 1 for group in groups)


def test_more_ranks_than_saes_are_refused_if_an_architecture_needs_whole_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ARCHITECTURES["topk"], "uses_split", False)
    with pytest.raises(InputError, match=r"25 processes have only 24 SAEs .*topk needs whole .*start at most 24"):
        shares(25, "cpu")


def test_more_ranks_than_rows_in_a_batch_are_refused() -> None:
    settings, where = replace(experiment(), batch_size=2), torch.device("cpu")
    plan = make_plan(settings, D_MODEL, where)
    with pytest.raises(InputError, match=r"fewer rows \(2\) than the 4 processes of one SAE"):
        share_of(plan, settings, RankPlace(0, 72, 72), where)


@pytest.mark.parametrize(
    ("costs", "n", "bounds"),
    [
        ([1, 1, 1, 1], 2, [0, 2, 4]),
        ([1, 1, 1, 1], 4, [0, 1, 2, 3, 4]),
        ([1, 1, 1], 2, [0, 2, 3]),
        ([6, 1, 1, 1], 2, [0, 1, 4]),
        ([1, 1, 1, 6], 2, [0, 3, 4]),
        ([2, 1, 1, 2, 2], 3, [0, 2, 4, 5]),
        ([9, 1, 1], 3, [0, 1, 2, 3]),
    ],
)
def test_parts_are_cut_at_about_equal_costs(costs: list[float], n: int, bounds: list[int]) -> None:
    assert cuts(costs, n) == bounds
