"""The distribution of SAEs over ranks: about equal shares of the cost, each of as few layers as possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from data.errors import InputError
from data.system.torchrun import RankPlace
from train.architectures import architecture_of
from train.experiment import Experiment
from train.loop.memory_plan import MemoryPlan, stacked
from train.sae import ElementwiseSAE
from train.step.sae_stack import StackEntry

AUTOGRAD_COST = 2.0  # of a step by autograd, in steps whose gradients are written by hand


def share_of(plan: MemoryPlan, experiment: Experiment, place: RankPlace, device: torch.device) -> MemoryPlan:
    """Return the part of an experiment's plan that a rank trains.

    On a CPU it has whole stacks of the plan, so each SAE's sums are those of a single process, bit for bit. On a GPU
    single SAEs are distributed, and each rank stacks its own. Raises InputError if there are more ranks than parts.
    """
    if place.size == 1:
        return plan
    whole = device.type == "cpu"
    parts = plan.stacks if whole else tuple((entry,) for stack in plan.stacks for entry in stack)
    parts = tuple(sorted(parts, key=lambda part: part[0].layer))
    if place.size > len(parts):
        stacks = " (on a CPU, SAEs of one layer, architecture and seed are trained together)" if whole else ""
        raise InputError(
            f"torchrun --nproc-per-node: {place.size} processes have only {len(parts)} parts of the training to do"
            f"{stacks}; start at most {len(parts)}"
        )
    rank_stacks = parts[slice(*cuts([cost(part) for part in parts], place.size)[place.rank : place.rank + 2])]
    if not whole:
        rank_stacks = tuple(
            stacked([entry for part in rank_stacks for entry in part], experiment, plan.max_stack, by_layer=False)
        )
    return replace(plan, stacks=rank_stacks)


def cost(part: Sequence[StackEntry]) -> float:
    """Return the cost of a step of some SAEs of one size, in steps of one whose gradients are written by hand."""
    by_hand = [issubclass(architecture_of(entry.run.variant), ElementwiseSAE) for entry in part]
    return sum(1.0 if by_formulas else AUTOGRAD_COST for by_formulas in by_hand)


def cuts(costs: Sequence[float], n: int) -> list[int]:
    """Return where to cut a list of at least n costs into n consecutive parts of about equal cost: n + 1 indices.

    Each part is filled up to its share of what the parts before it have left, and has at least one entry.
    """
    bounds, begin = [0], 0
    for parts_left in range(n, 1, -1):
        share, end = sum(costs[begin:]) / parts_left, begin + 1
        while end < len(costs) - parts_left + 1 and sum(costs[begin:end]) + costs[end] / 2 <= share:
            end += 1
        bounds.append(end)
        begin = end
    return [*bounds, len(costs)]
