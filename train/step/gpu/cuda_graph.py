"""The gradients of a dense step, recorded once as a CUDA graph and replayed.

Launching the kernels of one SAE's step, some sixty of them, takes longer than the GPU needs for them; a graph is
launched as a whole. What it reads and writes stays where it was recorded, so inputs are copied there, and each graph
has memory of its own. With more SAEs in a stack the GPU is the slower one anyway.

Not here: steps that look at what is active, and wait for it, as those on pairs do (sparse.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from train.sae import SAE, Gradients
from train.step.dense import slices
from train.step.gradients import Forward, gradients
from train.step.workspace import BatchNoise, StepWorkspace

MOST_SAES = 2  # of a stack: launching takes 1.6 ms, and a GPU 1 ms for one SAE of 768 → 12 288

Step = Callable[[Tensor, Tensor, BatchNoise | None], Forward]  # x, beta, epsilon, as step.gradients has them


@dataclass(frozen=True)
class Recorded:
    """A graph, and the memory that it works on."""

    graph: torch.cuda.CUDAGraph
    x: Tensor
    beta: Tensor
    found: Forward


def make_step(sae: SAE, *, batch_size: int, l2_weight: float, workspace: StepWorkspace, out: Gradients) -> Step:
    """`step.gradients` for one stack and batches of one size, replayed where that is possible.

    Not where a step waits for what is active, nor where noise is not kept where it was recorded.
    """
    few = workspace.fused and len(sae.b_enc) <= MOST_SAES
    if few and not workspace.max_sparse_density and (not sae.uses_noise or batch_size <= workspace.noise_rows):
        return CudaGraphStep(sae, l2_weight=l2_weight, workspace=workspace, out=out)
    return partial(gradients, sae, l2_weight=l2_weight, workspace=workspace, out=out)


class CudaGraphStep:
    """`step.gradients` for one stack on a GPU, for inputs of one shape. What it returns holds until the next call.

    NoiseSource must be the same memory each time (noise.py's is, of as many pieces as are kept).
    """

    def __init__(self, sae: SAE, *, l2_weight: float, workspace: StepWorkspace, out: Gradients) -> None:
        self._sae, self._l2_weight, self._workspace, self._out = sae, l2_weight, workspace, out
        self._recorded: Recorded | None = None

    def __call__(self, x: Tensor, beta: Tensor, epsilon: BatchNoise | None) -> Forward:
        """See `step.gradients`."""
        if epsilon is not None:  # drawn before: a generator's state would be recorded, too
            for rows in slices(x.shape[1], self._workspace.noise_rows):
                epsilon(rows)
        if self._recorded is None:
            self._recorded = self._record(x, beta, epsilon)
        here = self._recorded
        here.x.copy_(x)
        here.beta.copy_(beta)
        here.graph.replay()
        return here.found

    def _record(self, x: Tensor, beta: Tensor, epsilon: BatchNoise | None) -> Recorded:
        x, beta = x.clone(), beta.clone()
        aside = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(aside):  # once by itself: kernels are compiled, libraries take their memory
            self._gradients(x.clone(), beta, epsilon)
        torch.cuda.current_stream(x.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads read batches
            found = self._gradients(x, beta, epsilon)
        return Recorded(graph, x, beta, found)

    def _gradients(self, x: Tensor, beta: Tensor, epsilon: BatchNoise | None) -> Forward:
        return gradients(
            self._sae, x, beta, epsilon, l2_weight=self._l2_weight, workspace=self._workspace, out=self._out
        )  # fmt: skip
