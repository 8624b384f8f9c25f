"""The memory that an experiment needs, and the check that the machine has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from data.errors import InputError
from data.shuffle.stream import DEFAULT_POOL, READ_AHEAD, held_bytes
from data.store.reader import Store
from data.system.limits import available_memory
from train.architectures import architecture_of
from train.experiment import Experiment, Run
from train.loop.memory_plan import MemoryPlan
from train.sae import ElementwiseSAE, PairwiseSAE
from train.step.features import DENSITIES
from train.step.gpu.cuda_graph import MAX_GRAPH_SAES

PAIR_BYTES = 60  # per active pair: row and feature, both also sorted by feature; values; the sort's temporaries
DENSE_TENSORS = 6  # of [rows, d_sae], in the definition of a loss and its gradient
RESERVE = 1.1  # factor for temporaries and the allocator


@dataclass(frozen=True)
class MemoryNeeds:
    """Bytes on the device that trains, and bytes of main memory for restarting all features at once."""

    device_bytes: int
    restart_bytes: int


def memory_needs(plan: MemoryPlan, experiment: Experiment, device: torch.device) -> MemoryNeeds:
    """Count the bytes that a plan needs."""
    density = DENSITIES[-1] if device.type == "cuda" else plan.max_sparse_density
    return MemoryNeeds(_device_bytes(plan, experiment, density), _restart_bytes(plan, experiment))


def check_memory(
    plan: MemoryPlan, experiment: Experiment, store: Store, device: torch.device, *, processes: int = 1
) -> None:
    """Raise InputError if the device or main memory cannot hold the experiment.

    processes: the number of processes that share the main memory, each with as large a part of the experiment.

    Main memory holds the stream's buffers; its maps do not count, because the page cache may drop them at any time.
    """
    needs = memory_needs(plan, experiment, device)
    host = needs.restart_bytes + stream_buffers(store, [experiment.hooks[i] for i in plan.layers], experiment)
    available = available_memory() // processes
    if device.type == "cuda":
        need, free = needs.device_bytes, torch.cuda.mem_get_info(device)[0]
        if host > available:
            raise InputError(
                f"{host / 1e9:.2f} GB of main memory are needed, of which restarting dead features may take "
                f"{needs.restart_bytes / 1e9:.2f} GB; {available / 1e9:.2f} GB are free: give fewer --layers, "
                "fewer runs, a smaller --expansion or --batch-size, or --resample-at-most 0"
            )
    else:
        need, free = needs.device_bytes + host, available
    if need > free:
        state = 3 * plan.n_saes * _parameters(plan) * 4
        raise InputError(
            f"training {plan.n_saes} SAEs of {plan.d_model} × {plan.d_sae} needs {need / 1e9:.2f} GB of memory, of "
            f"which the parameters and Adam's moments are {state / 1e9:.2f} GB; {free / 1e9:.2f} GB are free: give "
            "fewer --layers, fewer runs, a smaller --expansion or a smaller --batch-size"
        )


def stream_buffers(store: Store, hooks: Sequence[str], experiment: Experiment) -> int:
    """Count the bytes of the stream's batches, and of its shards if they are decoded rather than mapped."""
    row = sum(store.width(hook) for hook in hooks) * 4
    decoded = held_bytes(store, hooks, DEFAULT_POOL) if not store.mapped else 0
    return (1 + READ_AHEAD) * experiment.batch_size * row + decoded


def _parameters(plan: MemoryPlan) -> int:
    """Count one SAE's parameters."""
    return 2 * plan.d_sae * plan.d_model + plan.d_sae + plan.d_model


def _device_bytes(plan: MemoryPlan, experiment: Experiment, density: float) -> int:
    n, batch, layers = plan.n_saes, experiment.batch_size, len(plan.layers)
    state = 4 * _parameters(plan) * (3 * n + plan.largest_stack)  # parameters, two moments; one stack's gradients
    # Each CUDA graph has memory of its own; only small stacks have one (cuda_graph.py).
    graphs = sum(len(stack) for stack in plan.stacks if plan.fused and len(stack) <= MAX_GRAPH_SAES)
    # As large as a weight: the projection's temporary, before it the weights in the compute dtype.
    weights = 4 * (plan.largest_stack + graphs) * plan.d_sae * plan.d_model
    counts = 8 * plan.d_sae * 4 * n
    size, block_rows = plan.compute.itemsize, plan.largest_stack * plan.block_rows
    unfused = 0 if plan.fused else plan.d_sae + size * plan.grad_chunk_features
    workspace = block_rows * (size * (1 + plan.keep_derivative) * plan.d_sae + unfused)
    pairs = int(PAIR_BYTES * density * block_rows * plan.d_sae)
    noise = size * plan.kept_noises * plan.noise_rows * plan.d_sae
    rows = 4 * batch * plan.d_model * (2 * layers + 4 * (plan.largest_stack + graphs))
    losses = 2 * 4 * n * _drawn_rows(experiment) if experiment.restarts else 0  # per batch, and concatenated
    by_loss = max((_loss_bytes(plan, experiment, run) for run in experiment.runs), default=0)
    return int(RESERVE * (state + weights + counts + workspace + pairs + noise + rows + losses + by_loss))


def _loss_bytes(plan: MemoryPlan, experiment: Experiment, run: Run) -> int:
    """Count what PyTorch keeps of one SAE's loss to differentiate it; 0 where gradients are written by hand."""
    architecture = architecture_of(run.variant)
    if issubclass(architecture, ElementwiseSAE):
        return 0
    sae = architecture(d_model=plan.d_model, d_sae=1, settings=run.settings)
    gradients = 2 * 4 * _parameters(plan)
    if isinstance(sae, PairwiseSAE) and plan.max_sparse_density and sae.most_pairs_per_row is not None:
        return gradients + int(PAIR_BYTES * experiment.batch_size * sae.most_pairs_per_row)
    rows = plan.block_rows if sae.sees == "row" else experiment.batch_size
    return gradients + DENSE_TENSORS * 4 * rows * plan.d_sae


def _restart_bytes(plan: MemoryPlan, experiment: Experiment) -> int:
    """Count the inputs drawn for all SAEs, then one SAE's temporaries."""
    if not experiment.restarts:
        return 0
    inputs = plan.d_sae * (4 * plan.d_model + 8)  # and the rows that they come from
    return int(RESERVE * (plan.n_saes * inputs + 4 * inputs + 5 * 8 * _drawn_rows(experiment)))


def _drawn_rows(experiment: Experiment) -> int:
    """Count the rows from which inputs are drawn: whole batches."""
    return -(-experiment.resampling.rows // experiment.batch_size) * experiment.batch_size
