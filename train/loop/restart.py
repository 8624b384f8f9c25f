"""Restart dead features at inputs drawn from the rows that training will see next. optim/resample.py has the rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event

import torch

from train.step.inputs import Inputs
from train.step.sae_stack import SAEStack

Upcoming = Callable[[], Iterator[Inputs]]


def restart_dead(stacks: Sequence[SAEStack], upcoming: Upcoming, *, step: int, stop: Event) -> bool:
    """Restart the dead features of all SAEs; return False, with nothing changed, if `stop` is set meanwhile.

    `upcoming` yields the next batches. It is called twice: for the losses, and for the inputs that are drawn by them.
    """
    dead = {(g, i): features for g, stack in enumerate(stacks) for i, features in enumerate(stack.dead_features())}
    dead = {sae: features for sae, features in dead.items() if len(features)}
    if not dead:
        return True
    batch_losses = []
    for inputs in upcoming():
        batch_losses.append([stack.row_losses(inputs) for stack in stacks if not stop.is_set()])
        if stop.is_set():
            return False
    losses = [torch.cat(of_stack, dim=1) for of_stack in zip(*batch_losses, strict=True)]  # per stack [n, rows]
    drawn = {(g, i): stacks[g].draw(i, losses[g][i], len(features), step=step) for (g, i), features in dead.items()}
    x = {sae: torch.empty(len(rows), stacks[0].sae.d_model) for sae, rows in drawn.items()}
    begin = 0
    for inputs in upcoming():
        if stop.is_set():
            return False
        end = begin + inputs.x.shape[1]
        for (g, i), rows in drawn.items():
            in_batch = (rows >= begin) & (rows < end)
            layer = stacks[g].entries[i].layer
            x[g, i][in_batch] = inputs.x[layer, (rows[in_batch] - begin).to(inputs.x.device)].cpu()
        begin = end
    for (g, i), features in dead.items():
        stacks[g].restart(i, features, x[g, i].to(features.device))
    return True
