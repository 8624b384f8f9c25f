"""The distribution of SAEs over ranks: about equal shares of the cost, each of as few layers as possible.

If there are more ranks than SAEs, each SAE has a group of ranks, which split its batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch

from data.errors import InputError
from data.system.torchrun import RankPlace
from train.architectures import architecture_of
from train.experiment import Experiment
from train.loop.memory_plan import MemoryPlan, stacked
from train.sae import ElementwiseSAE
from train.step.sae_stack import StackEntry

AUTOGRAD_COST = 2.0  # of a step by autograd, in steps whose gradients are written by hand


@dataclass(frozen=True)
class Share:
    """The part of a training that a rank has.

    plan: of the SAEs that it trains.
    groups: the ranks that train the same SAEs and split their batches, ascending; none if no SAEs have several ranks.
    """

    plan: MemoryPlan
    groups: tuple[range, ...] = ()


def share_of(plan: MemoryPlan, experiment: Experiment, place: RankPlace, device: torch.device) -> Share:
    """Return a rank's share of an experiment's plan.

    On a CPU it has whole stacks of the plan, so each SAE's sums are those of a single process, bit for bit. If there
    are more ranks than stacks, and on a GPU, single SAEs are distributed, and each rank stacks its own. If there are
    more ranks than SAEs, batches are split. Raises InputError if an architecture cannot be trained on parts of a batch,
    or there are fewer rows than ranks.
    """
    if place.size == 1:
        return Share(plan)
    by_layer = device.type == "cpu"
    whole = by_layer and place.size <= len(plan.stacks)
    parts = plan.stacks if whole else tuple((entry,) for stack in plan.stacks for entry in stack)
    parts = tuple(sorted(parts, key=lambda part: part[0].layer))
    costs = [cost(part) for part in parts]
    if place.size > len(parts):
        groups = groups_of(costs, place.size)
        _check_split(parts, experiment, max(map(len, groups)), place.size)
        number = next(number for number, group in enumerate(groups) if place.rank in group)
        return Share(replace(plan, stacks=(parts[number],)), tuple(groups))
    rank_stacks = parts[slice(*cuts(costs, place.size)[place.rank : place.rank + 2])]
    if not whole:
        entries = [entry for part in rank_stacks for entry in part]
        rank_stacks = tuple(stacked(entries, experiment, plan.max_stack, by_layer=by_layer))
    return Share(replace(plan, stacks=rank_stacks))


def groups_of(costs: Sequence[float], n: int) -> list[range]:
    """Return the ranks of each part, of n ranks, more than there are parts: consecutive, about as many as it costs."""
    sizes = [1] * len(costs)
    for _ in range(n - len(costs)):
        sizes[max(range(len(costs)), key=lambda part: costs[part] / sizes[part])] += 1
    return [range(begin, end) for begin, end in pairwise(accumulate(sizes, initial=0))]


def _check_split(parts: Sequence[Sequence[StackEntry]], experiment: Experiment, most: int, n: int) -> None:
    """Raise InputError if the batches of the parts cannot be split among up to `most` ranks."""
    refused = f"torchrun --nproc-per-node: {n} processes have only {len(parts)} SAEs to train, and"
    for variant in dict.fromkeys(part[0].run.variant for part in parts):
        if not architecture_of(variant).takes_parts():
            raise InputError(
                f"{refused} {variant} needs whole batches, so processes cannot split them; start at most {len(parts)}"
            )
    if most > experiment.batch_size:
        raise InputError(
            f"{refused} a batch has fewer rows ({experiment.batch_size}) than the {most} processes of one SAE; "
            "start fewer"
        )


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
