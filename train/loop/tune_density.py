"""Measure the density of active features below which a sparse step is faster than a dense one on this GPU.

It depends on the card, the compute dtype and the shape, so it is measured when an experiment begins, and recorded. On a
CPU it is a constant (features.py), so the same command gives the same bits.
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
from train.architectures import BaselineSAE
from train.loop.memory_plan import MemoryPlan
from train.sae import Gradients
from train.step.encode import make_encoder
from train.step.features import DENSITIES
from train.step.gpu.cuda_graph import make_step

REPEATS = 3
LOG_RATE_STD = 2.0  # of the log of features' firing rates: a few fire in most rows, and the kernels wait for those
MAX_RATE = 0.5

Seconds = Callable[[float, float], float]  # (density, max_sparse_density) → seconds per step


def measure_break_even(plan: MemoryPlan, device: torch.device) -> float:
    """Return the density for `MemoryPlan.max_sparse_density`; 0 without Triton, a C compiler or Python's headers."""
    if not has_triton():
        Bar.write(
            "steps are dense, and by PyTorch's operations: our kernels need Triton, a C compiler and Python's headers",
            file=sys.stderr,
        )
        return 0.0
    return break_even_density(step_seconds(plan, device))


def break_even_density(seconds: Seconds, densities: Sequence[float] = DENSITIES) -> float:
    """Return the largest of ascending densities up to which sparse steps are faster; 0 if they never are."""
    break_even = 0.0
    for density in densities:
        if seconds(density, 1.0) >= seconds(density, 0.0):
            break
        break_even = density
    return break_even


def step_seconds(plan: MemoryPlan, device: torch.device) -> Seconds:
    """Return a function that times the gradients of a block of random rows, for a stack of baselines: medians."""
    n, d_model, d_sae = plan.largest_stack, plan.d_model, plan.d_sae
    workspace = plan.workspace(device)
    gradient = Gradients.allocate(n, d_model=d_model, d_sae=d_sae, device=device)
    generator = torch.Generator(device).manual_seed(0)
    sae = BaselineSAE(n, d_model=d_model, d_sae=d_sae).to(device)
    directions = normalize(torch.randn(d_sae, d_model, generator=generator, device=device), dim=-1)
    sae.W_enc.copy_(directions)
    sae.W_dec.copy_(directions)
    normal = torch.randn(d_sae, generator=generator, device=device)
    # With unit encoder rows, pre-activations are N(b_enc, 1).
    x = torch.randn(n, workspace.n_rows, d_model, generator=generator, device=device)
    beta = torch.ones(n, 1, device=device)

    def seconds(density: float, max_sparse_density: float) -> float:
        sae.b_enc.copy_(torch.special.ndtri(_firing_rates(density, normal)))
        encoder = make_encoder(sae, replace(workspace, max_sparse_density=max_sparse_density))
        step = make_step(encoder, batch_size=workspace.n_rows, l2_weight=1 / d_model, out=gradient)
        times = []
        for _ in range(1 + REPEATS):  # the first, which may compile, does not count
            begin = _now(device)
            step(x.clone(), beta, None)
            times.append(_now(device) - begin)
        return statistics.median(times[1:])

    return seconds


def _firing_rates(density: float, normal: Tensor) -> Tensor:
    """Turn standard normal numbers into log-normal firing rates, at most MAX_RATE, with mean `density`."""
    rates = torch.exp(LOG_RATE_STD * normal)
    for _ in range(8):  # rescale the others so that clamping at MAX_RATE keeps the mean
        rates = (rates * (density / rates.mean())).clamp(max=MAX_RATE)
    return rates


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
