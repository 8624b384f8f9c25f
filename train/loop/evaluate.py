"""Measure SAEs on the held-out split, which is not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

import torch

from data.store.reader import Store
from train.experiment import Experiment
from train.step.inputs import Inputs
from train.step.noise import NoiseSource
from train.step.sae_stack import SAEStack
from train.sums import Sums

VALIDATION = 0x5641  # part of the noise's key, which makes it different from the noise of training steps


def validate(
    stacks: Sequence[SAEStack],
    store: Store,
    experiment: Experiment,
    noise: NoiseSource | None,
    device: torch.device,
    stop: Event,
    hooks: Sequence[str] | None = None,
) -> list[tuple[SAEStack, bool, Sums]] | None:
    """Return (stack, noise on, sums over the held-out rows) for each stack; None if `stop` is set meanwhile.

    hooks: those of the layers that the stacks read; None: all.

    Every stack is measured with noise off; an architecture with noise also with noise on.
    """
    kinds = [(stack, noisy) for stack in stacks for noisy in ((False, True) if stack.sae.uses_noise else (False,))]
    totals: list[Sums | None] = [None] * len(kinds)
    rows = store.batches(
        "heldout", hooks or experiment.hooks, batch_size=experiment.batch_size, n_rows=experiment.reports.validate_rows
    )
    for number, batch in enumerate(rows):
        inputs = Inputs.of(batch, device)
        for k, (stack, noisy) in enumerate(kinds):
            if stop.is_set():
                return None
            epsilon = stack.batch_noise(noise if noisy else None, VALIDATION, number)
            sums, before = stack.measure(inputs, epsilon), totals[k]
            totals[k] = sums if before is None else before + sums
    return [(stack, noisy, total) for (stack, noisy), total in zip(kinds, totals, strict=True) if total is not None]
