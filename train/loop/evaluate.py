"""Passes over the data beside training's steps: validation on the held-out split, and restarting dead features.

Both may take minutes, so they look at `stop` all along; what is stopped has changed nothing.

Not here: the loop (trainer.py), what is measured (measures.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event

import torch

from data.store.reader import Store
from train.experiment import Experiment
from train.measures import Sums
from train.step.inputs import Inputs
from train.step.noise import NoiseSource
from train.step.sae_stack import SAEStack

VALIDATION = 0x5641  # tells validation's noise from the steps'

Upcoming = Callable[[], Iterator[Inputs]]


def validate(
    stacks: Sequence[SAEStack],
    store: Store,
    experiment: Experiment,
    noise: NoiseSource | None,
    device: torch.device,
    stop: Event,
) -> list[tuple[SAEStack, bool, Sums]] | None:
    """Sums over the held-out rows for each stack, with noise off, and for architectures that have it also on.

    None if stopped.
    """
    kinds = [(stack, noisy) for stack in stacks for noisy in ((False, True) if stack.sae.uses_noise else (False,))]
    totals: list[Sums | None] = [None] * len(kinds)
    rows = store.batches(
        "heldout", experiment.hooks, batch_size=experiment.batch_size, n_rows=experiment.reports.validate_rows
    )
    for number, batch in enumerate(rows):
        inputs = Inputs.of(batch, device)
        for k, (stack, noisy) in enumerate(kinds):
            if stop.is_set():
                return None
            epsilon = stack.batch_noise(noise if noisy else None, VALIDATION, number)
            found, before = stack.measure(inputs, epsilon), totals[k]
            totals[k] = found if before is None else before + found
    return [(stack, noisy, total) for (stack, noisy), total in zip(kinds, totals, strict=True) if total is not None]


def restart_dead(stacks: Sequence[SAEStack], upcoming: Upcoming, *, step: int, stop: Event) -> bool:
    """Restart the dead features of all SAEs at inputs drawn from the rows that training will see next.

    `upcoming` gives those rows, and is called twice: once for the losses, once for the inputs drawn. False if stopped.
    """
    dead = {(g, i): features for g, stack in enumerate(stacks) for i, features in enumerate(stack.dead_features())}
    dead = {place: features for place, features in dead.items() if len(features)}
    if not dead:
        return True
    losses = []
    for inputs in upcoming():
        losses.append([stack.row_losses(inputs) for stack in stacks if not stop.is_set()])
        if stop.is_set():
            return False
    of_all = [torch.cat(several, dim=1) for several in zip(*losses, strict=True)]
    chosen = {(g, i): stacks[g].draw(i, of_all[g][i], len(features), step=step) for (g, i), features in dead.items()}
    found = {place: torch.empty(len(rows), stacks[0].sae.d_model) for place, rows in chosen.items()}
    begin = 0
    for inputs in upcoming():
        if stop.is_set():
            return False
        end = begin + inputs.x.shape[1]
        for (g, i), rows in chosen.items():
            here = (rows >= begin) & (rows < end)
            layer = stacks[g].entries[i].layer
            found[g, i][here] = inputs.x[layer, (rows[here] - begin).to(inputs.x.device)].cpu()
        begin = end
    for (g, i), features in dead.items():
        stacks[g].restart(i, features, found[g, i].to(features.device))
    return True
