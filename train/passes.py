"""Passes over the data beside training's steps: validation on the held-out split, and restarting dead features.

Not here: the loop (trainer.py), what is measured (measures.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from data.reader import Store
from data.walk import walk
from train.group import Group, Inputs
from train.measures import Sums
from train.noise import Noise
from train.runs import Experiment

VALIDATION = 0x5641  # tells validation's noise from the steps'

Upcoming = Callable[[], Iterator[Inputs]]


def validate(
    groups: Sequence[Group], store: Store, experiment: Experiment, noise: Noise | None, device: torch.device
) -> list[tuple[Group, bool, Sums]]:
    """Sums over the held-out rows for each group, with noise off, and for architectures that have it also on."""
    kinds = [(group, noisy) for group in groups for noisy in ((False, True) if group.sae.noisy else (False,))]
    totals: list[Sums | None] = [None] * len(kinds)
    rows = walk(
        store, "heldout", experiment.hooks, batch_size=experiment.batch_size, n_rows=experiment.reports.validate_rows
    )
    for number, batch in enumerate(rows):
        inputs = Inputs.of(batch, device)
        for k, (group, noisy) in enumerate(kinds):
            epsilon = None
            if noisy and noise is not None:
                epsilon = noise.of(group.seed, VALIDATION, number)
            found, before = group.measure(inputs, epsilon), totals[k]
            totals[k] = found if before is None else before + found
    return [(group, noisy, total) for (group, noisy), total in zip(kinds, totals, strict=True) if total is not None]


def restart_dead(groups: Sequence[Group], upcoming: Upcoming, *, step: int) -> dict[tuple[str, int], int]:
    """Restart the dead features of all SAEs at inputs drawn from the rows that training will see next.

    `upcoming` gives those rows, and is called twice: once for the losses, once for the inputs drawn. Returns how many
    features were restarted, by run's name and layer.
    """
    dead = [group.dead_features() for group in groups]
    if any(len(features) for several in dead for features in several):
        losses = [[group.row_losses(inputs) for group in groups] for inputs in upcoming()]
        for g, group in enumerate(groups):
            of_all = torch.cat([batch[g] for batch in losses], dim=1)
            for i, features in enumerate(dead[g]):
                if len(features):
                    chosen = group.draw(i, of_all[i], len(features), step=step)
                    group.restart(i, features, _rows(upcoming(), int(group.layers[i]), chosen))
    for group in groups:
        if group.since is not None:
            group.since.restart()
    return {
        (member.run.name, member.layer): len(features)
        for group, several in zip(groups, dead, strict=True)
        for member, features in zip(group.members, several, strict=True)
    }


def _rows(batches: Iterator[Inputs], layer: int, chosen: Tensor) -> Tensor:
    """Rows by number, counted over the batches: int64 [k] → [k, d_model]."""
    out: Tensor | None = None
    begin = 0
    for inputs in batches:
        x = inputs.x[layer]
        if out is None:
            out = torch.empty(len(chosen), x.shape[-1], device=x.device)
        here = (chosen >= begin) & (chosen < begin + len(x))
        out[here] = x[chosen[here] - begin]
        begin += len(x)
    assert out is not None, "there are no rows to restart at"
    return out
