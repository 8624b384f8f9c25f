"""The plan of the SAEs that are stepped together, and of how much of their features is in memory at once.

The plan depends on shapes alone, so a resumed experiment computes the same sums in the same order. On a CPU a stack
holds SAEs of one layer, so a layer's sums do not depend on the layers beside it, nor on the process that trains it
(train/ranks). memory_needs.py tells how many bytes it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import groupby
from typing import Any

import torch

from data.errors import InputError
from data.system.compiler import has_triton
from train.architectures import architecture_of
from train.experiment import Experiment
from train.sae import ElementwiseSAE
from train.step.features import CPU_MAX_SPARSE_DENSITY
from train.step.sae_stack import StackEntry
from train.step.workspace import StepWorkspace

BLOCK_BYTES = {"cpu": 128 << 20, "cuda": 2 << 30}  # one block's features
CHUNK_BYTES = {"cpu": 32 << 20, "cuda": 2 << 30}  # noise and ∂L/∂c in memory at once
MIN_ROWS = 256


@dataclass(frozen=True)
class MemoryPlan:
    """Stacks of SAEs, and the sizes of the memory that they use in turn (`StepWorkspace`).

    max_stack: most SAEs of a stack.
    block_rows: rows per block. noise_rows: rows for which noise is drawn at a time; n_noises such draws make a batch's.
    """

    stacks: tuple[tuple[StackEntry, ...], ...]
    d_model: int
    d_sae: int
    max_stack: int
    block_rows: int
    grad_chunk_features: int
    noise_rows: int
    n_noises: int
    compute: torch.dtype
    keep_derivative: bool
    max_sparse_density: float
    fused: bool

    @property
    def n_saes(self) -> int:
        """The number of SAEs in all stacks."""
        return sum(len(stack) for stack in self.stacks)

    @property
    def largest_stack(self) -> int:
        """The number of SAEs in the largest stack."""
        return max(len(stack) for stack in self.stacks)

    @property
    def layers(self) -> list[int]:
        """The layers of its SAEs, ascending."""
        return sorted({entry.layer for stack in self.stacks for entry in stack})

    def workspace(self, device: torch.device) -> StepWorkspace:
        """Allocate the memory for a block of the largest stack."""
        return StepWorkspace.allocate(
            self.largest_stack, self.block_rows, self.d_sae, grad_chunk_features=self.grad_chunk_features,
            noise_rows=self.noise_rows, max_sparse_density=self.max_sparse_density, compute=self.compute, device=device,
            keep_derivative=self.keep_derivative, fused=self.fused,
        )  # fmt: skip

    @property
    def kept_noises(self) -> int:
        """Draws to cache: a whole batch's if stacks of the same seed share them, else the current one."""
        seeds = [stack[0].run.seed for stack in self.stacks if architecture_of(stack[0].run.variant).uses_noise]
        return min(len(seeds), 1) if len(set(seeds)) == len(seeds) else self.n_noises


def make_plan(experiment: Experiment, d_model: int, device: torch.device) -> MemoryPlan:
    """Stack the SAEs of one variant and seed (on a CPU, and one layer), as many as a block's memory holds.

    Raises InputError if there is no feature.
    """
    d_sae = round(experiment.expansion * d_model)
    if d_sae < 1:
        raise InputError(f"--expansion {experiment.expansion:g}: leaves no feature at d_model {d_model}; give more")
    compute = torch.bfloat16 if experiment.precision == "bfloat16" else torch.float32
    architectures = [architecture_of(run.variant) for run in experiment.runs]
    elementwise = [architecture for architecture in architectures if issubclass(architecture, ElementwiseSAE)]

    def rows_in(n_bytes: int) -> int:
        return max(n_bytes // (compute.itemsize * d_sae), 1)

    def round_rows(rows: int) -> int:
        """Down to a power of two, at least MIN_ROWS, at most a batch."""
        return min(experiment.batch_size, max(1 << (rows.bit_length() - 1), MIN_ROWS))

    rows_in_block = rows_in(BLOCK_BYTES[device.type])
    block_rows, noise_rows = round_rows(rows_in_block), round_rows(rows_in(CHUNK_BYTES[device.type]))
    max_stack = max(rows_in_block // block_rows, 1)
    entries = [StackEntry(run, layer) for run in experiment.runs for layer in range(len(experiment.hooks))]
    stacks = tuple(stacked(entries, experiment, max_stack, by_layer=device.type == "cpu"))
    stack_rows = max(map(len, stacks)) * block_rows
    fusible = device.type == "cuda" and compute == torch.bfloat16 and has_triton()
    return MemoryPlan(
        stacks=stacks,
        d_model=d_model,
        d_sae=d_sae,
        max_stack=max_stack,
        block_rows=block_rows,
        grad_chunk_features=min(d_sae, max(CHUNK_BYTES[device.type] // (compute.itemsize * stack_rows), 1)),
        noise_rows=noise_rows,
        n_noises=-(-experiment.batch_size // noise_rows),
        compute=compute,
        keep_derivative=compute.itemsize < 4 and any(architecture.needs_derivative for architecture in elementwise),
        # A CPU has no sparse products in bfloat16. On a GPU the density is measured later (tune_density.py).
        max_sparse_density=CPU_MAX_SPARSE_DENSITY if device.type == "cpu" and compute == torch.float32 else 0.0,
        fused=fusible and len(elementwise) == len(architectures) and all(e.fused_activation for e in elementwise),
    )


def stacked(
    entries: Sequence[StackEntry], experiment: Experiment, max_size: int, *, by_layer: bool
) -> Iterator[tuple[StackEntry, ...]]:
    """Yield stacks of SAEs that are alike in all but settings of the loss and scales, and with `by_layer` in the layer.

    Those alike are divided into stacks of about equal size, up to `max_size`.
    """

    def kind(entry: StackEntry) -> tuple[Any, ...]:
        run, settings = entry.run, entry.run.settings
        trained = architecture_of(run.variant).trained_with(settings)
        schedule, clip = experiment.schedule_of(run), experiment.clip_of(run)
        optimisation = settings.adam_beta2, settings.adam_epsilon, *astuple(schedule), clip or 0.0
        layer = entry.layer if by_layer else 0
        return run.variant, run.seed, settings.adam_beta1, repr(trained), repr(run.input_form), *optimisation, layer

    for _, group in groupby(sorted(entries, key=kind), key=kind):
        alike = list(group)
        size = -(-len(alike) // -(-len(alike) // max_size))
        for begin in range(0, len(alike), size):
            yield tuple(alike[begin : begin + size])
