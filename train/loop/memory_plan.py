"""How an experiment is laid out in memory: which SAEs are stepped together, in blocks of how many rows, and what all
of it needs. A function of shapes alone, so that a resumed experiment computes the same sums in the same order.

Not here: doing it (trainer.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import torch

from data.errors import InputError
from data.shuffle.stream import DEFAULT_POOL, READ_AHEAD, held_bytes
from data.store.reader import Store
from data.system.compiler import has_triton
from data.system.limits import available_memory
from train.experiment import Experiment
from train.sae import ARCHITECTURES
from train.step.features import CPU_MAX_SPARSE_DENSITY, DENSITIES
from train.step.gpu.cuda_graph import MOST_SAES
from train.step.sae_stack import StackEntry
from train.step.workspace import FUSED, StepWorkspace

BLOCK_BYTES = {"cpu": 128 << 20, "cuda": 2 << 30}  # features of one block
PIECE_BYTES = {"cpu": 32 << 20, "cuda": 2 << 30}  # of the noise, and of ∂L/∂c, in memory at once
FEWEST_ROWS = 256
PAIR_BYTES = 60  # of an active pair: its row and feature, both also in the features' order, values, what sorting takes
RESERVE = 1.1  # over what is counted: temporaries, the allocator


@dataclass(frozen=True)
class MemoryPlan:
    """Groups of SAEs, how much of their features is in memory at once.

    `bytes_needed` is on the device that trains, `restart_bytes` in main memory, if all features are dead at once.
    """

    stacks: tuple[tuple[StackEntry, ...], ...]
    d_model: int
    d_sae: int
    block_rows: int
    grad_chunk_features: int  # see encode.StepWorkspace
    noise_rows: int
    n_noises: int  # of so many rows, that make up a batch
    compute: torch.dtype
    keep_derivative: bool  # see encode.StepWorkspace
    max_sparse_density: float
    fused: bool  # see encode.StepWorkspace
    bytes_needed: int = 0
    restart_bytes: int = 0

    @property
    def largest_stack(self) -> int:
        return max(len(stack) for stack in self.stacks)

    def workspace(self, device: torch.device) -> StepWorkspace:
        """Memory for a block of the largest stack."""
        return StepWorkspace.allocate(
            self.largest_stack, self.block_rows, self.d_sae, grad_chunk_features=self.grad_chunk_features,
            noise_rows=self.noise_rows, max_sparse_density=self.max_sparse_density, compute=self.compute, device=device,
            keep_derivative=self.keep_derivative, fused=self.fused,
        )  # fmt: skip

    @property
    def kept_noises(self) -> int:
        """How many to remember: a batch's where stacks of one seed share them, else the one in use."""
        seeds = [stack[0].run.seed for stack in self.stacks if ARCHITECTURES[stack[0].run.variant].uses_noise]
        return min(len(seeds), 1) if len(set(seeds)) == len(seeds) else self.n_noises


def make_plan(experiment: Experiment, d_model: int, device: torch.device) -> MemoryPlan:
    """SAEStack the SAEs of an experiment: of one variant and seed, and as many as a block's features have room for."""
    d_sae = round(experiment.expansion * d_model)
    if d_sae < 1:
        raise InputError(f"--expansion {experiment.expansion:g}: leaves no feature at d_model {d_model}; give more")
    compute = torch.bfloat16 if experiment.precision == "bfloat16" else torch.float32
    room, noise_room = (
        max(limit[device.type] // (compute.itemsize * d_sae), 1) for limit in (BLOCK_BYTES, PIECE_BYTES)
    )
    rows, noise_rows = (
        min(experiment.batch_size, max(1 << (some.bit_length() - 1), FEWEST_ROWS)) for some in (room, noise_room)
    )
    stacks = tuple(_stacks(experiment, max(room // rows, 1)))
    largest = max(map(len, stacks))
    grad_chunk_features = min(d_sae, max(PIECE_BYTES[device.type] // (compute.itemsize * largest * rows), 1))
    # A CPU has no products on pairs in bfloat16; on a GPU the density is measured (tune_density.py).
    max_sparse_density = CPU_MAX_SPARSE_DENSITY if device.type == "cpu" and compute == torch.float32 else 0.0
    keep_derivative = compute.itemsize < 4 and any(
        ARCHITECTURES[run.variant].needs_derivative for run in experiment.runs
    )
    fused = device.type == "cuda" and compute == torch.bfloat16 and has_triton()
    fused = fused and all(run.variant in FUSED for run in experiment.runs)
    n_noises = -(-experiment.batch_size // noise_rows)
    plan = MemoryPlan(
        stacks,
        d_model,
        d_sae,
        rows,
        grad_chunk_features,
        noise_rows,
        n_noises,
        compute,
        keep_derivative,
        max_sparse_density,
        fused,
    )
    most_sparse = DENSITIES[-1] if device.type == "cuda" else max_sparse_density
    return replace(
        plan, bytes_needed=_needed(plan, experiment, most_sparse), restart_bytes=_restart_bytes(plan, experiment)
    )


def check_memory(plan: MemoryPlan, experiment: Experiment, store: Store, device: torch.device) -> None:
    """Raise InputError where the device cannot hold the experiment.

    On a CPU that includes the stream's buffers, but not its maps, which the page cache may give up at any time.
    """
    host = plan.restart_bytes + stream_buffers(store, experiment)
    if device.type == "cuda":
        need, free = plan.bytes_needed, torch.cuda.mem_get_info(device)[0]
        if host > available_memory():
            raise InputError(
                f"{host / 1e9:.2f} GB of main memory are needed, of which restarting dead features may take "
                f"{plan.restart_bytes / 1e9:.2f} GB; {available_memory() / 1e9:.2f} GB are free: give fewer --layers, "
                "fewer runs, a smaller --expansion or --batch-size, or --resample-at-most 0"
            )
    else:
        need, free = plan.bytes_needed + host, available_memory()
    if need > free:
        n = sum(len(stack) for stack in plan.stacks)
        raise InputError(
            f"training {n} SAEs of {plan.d_model} × {plan.d_sae} needs {need / 1e9:.2f} GB of memory, of which the "
            f"parameters and Adam's moments are {3 * n * _parameters(plan) * 4 / 1e9:.2f} GB; {free / 1e9:.2f} GB are "
            "free: give fewer --layers, fewer runs, a smaller --expansion or a smaller --batch-size"
        )


def _stacks(experiment: Experiment, size: int) -> Iterator[tuple[StackEntry, ...]]:
    entries = [StackEntry(run, layer) for run in experiment.runs for layer in range(len(experiment.hooks))]
    kind = lambda entry: (entry.run.variant, entry.run.seed)  # noqa: E731
    for _, same in groupby(sorted(entries, key=kind), key=kind):
        several = list(same)
        each = -(-len(several) // -(-len(several) // size))  # as many stacks as it takes, of one size
        for begin in range(0, len(several), each):
            yield tuple(several[begin : begin + each])


def _parameters(plan: MemoryPlan) -> int:
    return 2 * plan.d_sae * plan.d_model + plan.d_sae + plan.d_model


def _needed(plan: MemoryPlan, experiment: Experiment, most_sparse: float) -> int:
    n, batch, layers = sum(len(stack) for stack in plan.stacks), experiment.batch_size, len(experiment.hooks)
    state = 4 * _parameters(plan) * (3 * n + plan.largest_stack)  # parameters, two moments; a stack's gradients
    replayed = sum(len(stack) for stack in plan.stacks if plan.fused and len(stack) <= MOST_SAES)
    # A temporary of the projection's; in its place weights in the type computed in, of which each graph has its own.
    product = 4 * (plan.largest_stack + replayed) * plan.d_sae * plan.d_model
    counts = 8 * plan.d_sae * 4 * n
    size, block_rows = plan.compute.itemsize, plan.largest_stack * plan.block_rows
    unfused = 0 if plan.fused else plan.d_sae + size * plan.grad_chunk_features
    blocks = block_rows * (size * (1 + plan.keep_derivative) * plan.d_sae + unfused)
    pairs = int(PAIR_BYTES * most_sparse * block_rows * plan.d_sae)
    noise = size * plan.kept_noises * plan.noise_rows * plan.d_sae
    rows = 4 * batch * plan.d_model * (2 * layers + 4 * (plan.largest_stack + replayed))
    losses = 2 * 4 * n * _drawn_rows(experiment) if experiment.restarts else 0  # by batch, and put together
    return int(RESERVE * (state + product + counts + blocks + pairs + noise + rows + losses))


def _restart_bytes(plan: MemoryPlan, experiment: Experiment) -> int:
    """Main memory for restarting features: the inputs drawn for all SAEs, then one SAE's temporaries."""
    if not experiment.restarts:
        return 0
    n = sum(len(stack) for stack in plan.stacks)
    inputs = plan.d_sae * (4 * plan.d_model + 8)  # and the rows that they come from
    return int(RESERVE * (n * inputs + 4 * inputs + 5 * 8 * _drawn_rows(experiment)))


def _drawn_rows(experiment: Experiment) -> int:
    return -(-experiment.resampling.rows // experiment.batch_size) * experiment.batch_size


def stream_buffers(store: Store, experiment: Experiment) -> int:
    """Bytes of the stream's batch buffers, and of its shards where they are decoded rather than mapped."""
    row = sum(store.width(hook) for hook in experiment.hooks) * 4
    decoded = held_bytes(store, experiment.hooks, DEFAULT_POOL) if not store.mapped else 0
    return (1 + READ_AHEAD) * experiment.batch_size * row + decoded
