"""Up to which share of active features a step on pairs is the faster one, found by taking steps both ways.

On a GPU that depends on the card, the type computed in and the shape, so it is measured when an experiment begins. On a
CPU a fixed share serves (features.py), so that the same command gives the same bits.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from data.command.progress import Bar
from data.system.compiler import has_triton
from train.loop.memory_plan import MemoryPlan
from train.sae import BaselineSAE, Gradients
from train.step.features import DENSITIES
from train.step.gpu.cuda_graph import make_step

REPEATS = 3
SPREAD = 2.0  # of the log of how often features fire; some fire in most rows, and are what kernels wait for
MOST = 0.5

Seconds = Callable[[float, float], float]


def measure_break_even(plan: MemoryPlan, device: torch.device) -> float:
    """Return the density for `MemoryPlan.max_sparse_density`; 0 without Triton, a C compiler or Python's headers."""
    if not has_triton():
        Bar.write(
            "steps are dense, and by PyTorch's operations: our kernels need Triton, a C compiler and Python's headers",
            file=sys.stderr,
        )
        return 0.0
    return break_even_density(step_seconds(plan, device))


def break_even_density(seconds: Seconds, shares: Sequence[float] = DENSITIES) -> float:
    """The largest of growing shares up to which pairs take less time; 0 if they never do.

    seconds(share, max_sparse_density) is what a step takes with so many features active.
    """
    found = 0.0
    for share in shares:
        if seconds(share, 1.0) >= seconds(share, 0.0):
            break
        found = share
    return found


def step_seconds(plan: MemoryPlan, device: torch.device) -> Seconds:
    """The gradients of a block of made-up rows, of a baseline's largest stack: medians of some steps."""
    n, d_model, d_sae = plan.largest_stack, plan.d_model, plan.d_sae
    workspace = plan.workspace(device)
    gradient = Gradients.allocate(n, d_model=d_model, d_sae=d_sae, device=device)
    generator = torch.Generator(device).manual_seed(0)
    sae = BaselineSAE(n, d_model=d_model, d_sae=d_sae).to(device)
    directions = normalize(torch.randn(d_sae, d_model, generator=generator, device=device), dim=-1)
    sae.W_enc.copy_(directions)
    sae.W_dec.copy_(directions)
    spread = torch.randn(d_sae, generator=generator, device=device)
    x = torch.randn(
        n, workspace.n_rows, d_model, generator=generator, device=device
    )  # pre-activations are then N(0, 1)
    beta = torch.ones(n, 1, device=device)

    def seconds(share: float, max_sparse_density: float) -> float:
        sae.b_enc.copy_(torch.special.ndtri(_rates(share, spread)))
        memory = replace(workspace, max_sparse_density=max_sparse_density)
        step = make_step(sae, batch_size=workspace.n_rows, l2_weight=1 / d_model, workspace=memory, out=gradient)
        times = []
        for _ in range(1 + REPEATS):  # the first, which may compile, does not count
            begin = _now(device)
            step(x.clone(), beta, None)
            times.append(_now(device) - begin)
        return statistics.median(times[1:])

    return seconds


def _rates(share: float, spread: Tensor) -> Tensor:
    """How often each feature fires, on average `share`: log-normal with a long tail, given standard normal numbers."""
    rates = torch.exp(SPREAD * spread)
    for _ in range(8):  # what is cut off above MOST is made up for by the rest
        rates = (rates * (share / rates.mean())).clamp(max=MOST)
    return rates


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
