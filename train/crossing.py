"""Up to which share of active features a step on pairs is the faster one, found by taking both.

On a GPU that depends on the card, the type computed in and the shape, so it is measured as training starts. The two
ways differ in rounding alone. On a CPU a fixed share serves (features.py): there, the same command gives the same bits.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec

import torch
from torch.nn.functional import normalize

from train.sae import BaselineSAE, Gradients
from train.step import Blocks, gradients

SHARES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
REPEATS = 3

Seconds = Callable[[float, float], float]


def measured(blocks: Blocks, gradient: Gradients) -> float:
    """For steps in this memory: a share for Blocks.sparse_below; 0 where Triton, which pairs need, is missing."""
    return crossing(step_seconds(blocks, gradient)) if find_spec("triton") else 0.0


def crossing(seconds: Seconds, shares: Sequence[float] = SHARES) -> float:
    """The largest of growing shares up to which pairs take less time; 0 if they never do.

    seconds(share, sparse_below) is what a step takes with so many features active.
    """
    found = 0.0
    for share in shares:
        if seconds(share, 1.0) >= seconds(share, 0.0):
            break
        found = share
    return found


def step_seconds(blocks: Blocks, gradient: Gradients) -> Seconds:
    """The gradients of a block of made-up rows, of as many SAEs as there is memory for: medians of some steps."""
    n, d_sae, d_model = gradient.W_enc.shape
    device = gradient.W_enc.device
    generator = torch.Generator(device).manual_seed(0)
    sae = BaselineSAE(n, d_model=d_model, d_sae=d_sae).to(device)
    directions = normalize(torch.randn(d_sae, d_model, generator=generator, device=device), dim=-1)
    sae.W_enc.copy_(directions)
    sae.W_dec.copy_(directions)
    x = torch.randn(
        n, blocks.n_rows, d_model, generator=generator, device=device
    )  # so that pre-activations are N(0, 1)
    beta = torch.ones(n, 1, device=device)

    def seconds(share: float, sparse_below: float) -> float:
        sae.b_enc.fill_(statistics.NormalDist().inv_cdf(share))
        memory = replace(blocks, sparse_below=sparse_below)
        times = []
        for _ in range(1 + REPEATS):  # the first, which may compile, does not count
            begin = _now(device)
            gradients(sae, x.clone(), beta, None, l2_weight=1 / d_model, blocks=memory, out=gradient)
            times.append(_now(device) - begin)
        return statistics.median(times[1:])

    return seconds


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
