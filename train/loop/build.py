"""Allocate what training works on: the stacks of SAEs, at their start, and the noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from train.architectures import architecture_of
from train.experiment import Experiment
from train.loop.memory_plan import MemoryPlan
from train.normalisation.statistics import InputStatistics
from train.sae import Gradients
from train.sae.batch_split import WHOLE, BatchSplit
from train.step.noise import NoiseSource
from train.step.sae_stack import SAEStack


def make_stacks(
    plan: MemoryPlan, experiment: Experiment, statistics: Sequence[InputStatistics], device: torch.device,
    split: BatchSplit = WHOLE,
) -> list[SAEStack]:  # fmt: skip
    """Make all stacks, initialised; `statistics` [layers] are those of each layer's training rows.

    The stacks share the memory for a block's features and for gradients.
    """
    n, d_model, d_sae = plan.largest_stack, plan.d_model, plan.d_sae
    workspace = plan.workspace(device)
    trained = {
        name: spec for entries in plan.stacks for name, spec in architecture_of(entries[0].run.variant).trained.items()
    }
    gradient = Gradients.allocate(n, d_model=d_model, d_sae=d_sae, device=device, trained=trained)
    stacks = []
    for entries in plan.stacks:
        stack = SAEStack(
            experiment, entries, d_model=d_model, d_sae=d_sae, statistics=statistics, device=device,
            workspace=workspace.narrow(len(entries)), read=plan.layers, split=split,
            gradient=gradient.narrow(len(entries), architecture_of(entries[0].run.variant).trained),
        )  # fmt: skip
        stack.initialise()
        stacks.append(stack)
    return stacks


def make_noise_source(plan: MemoryPlan, device: torch.device) -> NoiseSource | None:
    """Make the noise for the stacks that need it; None if none does."""
    if not plan.kept_noises:
        return None
    return NoiseSource(plan.noise_rows, plan.d_sae, kept=plan.kept_noises, device=device, dtype=plan.compute)
