"""Passes over the data beside training's steps: validation on the held-out split, and restarting dead features.

Both may take minutes, so they look at `stop` all along; what is stopped has changed nothing.

Not here: the loop (trainer.py), what is measured (measures.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event

import torch

from data.store.batches import walk
from data.store.reader import Store
from train.experiment import Experiment
from train.measures import Sums
from train.step.inputs import Inputs
from train.step.noise import Noise
from train.step.sae_stack import Group

VALIDATION = 0x5641  # tells validation's noise from the steps'

Upcoming = Callable[[], Iterator[Inputs]]


def validate(
    groups: Sequence[Group],
    store: Store,
    experiment: Experiment,
    noise: Noise | None,
    device: torch.device,
    stop: Event,
) -> list[tuple[Group, bool, Sums]] | None:
    """Sums over the held-out rows for each group, with noise off, and for architectures that have it also on.

    None if stopped.
    """
    kinds = [(group, noisy) for group in groups for noisy in ((False, True) if group.sae.noisy else (False,))]
    totals: list[Sums | None] = [None] * len(kinds)
    rows = walk(
        store, "heldout", experiment.hooks, batch_size=experiment.batch_size, n_rows=experiment.reports.validate_rows
    )
    for number, batch in enumerate(rows):
        inputs = Inputs.of(batch, device)
        for k, (group, noisy) in enumerate(kinds):
            if stop.is_set():
                return None
            epsilon = group.epsilon(noise if noisy else None, VALIDATION, number)
            found, before = group.measure(inputs, epsilon), totals[k]
            totals[k] = found if before is None else before + found
    return [(group, noisy, total) for (group, noisy), total in zip(kinds, totals, strict=True) if total is not None]


def restart_dead(groups: Sequence[Group], upcoming: Upcoming, *, step: int, stop: Event) -> bool:
    """Restart the dead features of all SAEs at inputs drawn from the rows that training will see next.

    `upcoming` gives those rows, and is called twice: once for the losses, once for the inputs drawn. False if stopped.
    """
    dead = {(g, i): features for g, group in enumerate(groups) for i, features in enumerate(group.dead_features())}
    dead = {place: features for place, features in dead.items() if len(features)}
    if not dead:
        return True
    losses = []
    for inputs in upcoming():
        losses.append([group.row_losses(inputs) for group in groups if not stop.is_set()])
        if stop.is_set():
            return False
    of_all = [torch.cat(several, dim=1) for several in zip(*losses, strict=True)]
    chosen = {(g, i): groups[g].draw(i, of_all[g][i], len(features), step=step) for (g, i), features in dead.items()}
    found = {place: torch.empty(len(rows), groups[0].sae.d_model) for place, rows in chosen.items()}
    begin = 0
    for inputs in upcoming():
        if stop.is_set():
            return False
        end = begin + inputs.x.shape[1]
        for (g, i), rows in chosen.items():
            here = (rows >= begin) & (rows < end)
            layer = groups[g].members[i].layer
            found[g, i][here] = inputs.x[layer, (rows[here] - begin).to(inputs.x.device)].cpu()
        begin = end
    for (g, i), features in dead.items():
        groups[g].restart(i, features, found[g, i].to(features.device))
    return True
