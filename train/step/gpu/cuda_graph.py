"""The gradients of a dense step, recorded once as a CUDA graph and then replayed.

Launching the about sixty kernels of one SAE's step takes longer than running them; a graph is launched as a whole. It
reads and writes the memory that it was recorded with, so inputs are copied there. It serves only dense steps whose
noise stays at one address: a sparse step waits for the number of active pairs, and is launched kernel by kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from train.sae import Gradients
from train.step.encode import Encoder
from train.step.gradients import Forward, gradients
from train.step.noise import BatchNoise
from train.step.workspace import slices

MAX_GRAPH_SAES = 2  # larger stacks keep a GPU busy: launching takes 1.6 ms, one SAE of 768 → 12 288 takes 1 ms

Step = Callable[[Tensor, Tensor, BatchNoise | None], Forward]  # (x, beta, noise) as in `gradients`


def make_step(encoder: Encoder, *, batch_size: int, l2_weight: float, out: Gradients) -> Step:
    """Return `gradients` of one stack, for batches of one size: replayed where that is possible and faster.

    batch_size: rows of a batch, of which the inputs may be a part.
    """
    sae, workspace = encoder.sae, encoder.workspace
    dense = workspace.fused and not workspace.max_sparse_density
    fixed_noise = not sae.uses_noise or batch_size <= workspace.noise_rows
    if dense and fixed_noise and len(sae.b_enc) <= MAX_GRAPH_SAES:
        return CudaGraphStep(encoder, batch_size=batch_size, l2_weight=l2_weight, out=out)
    return partial(gradients, encoder, batch_size=batch_size, l2_weight=l2_weight, out=out)


@dataclass(frozen=True)
class Recording:
    """A graph, the memory of its inputs, and that of its result."""

    graph: torch.cuda.CUDAGraph
    x: Tensor
    beta: Tensor
    result: Forward


class CudaGraphStep:
    """`gradients` of one stack on a GPU, for inputs of one shape. A result is valid until the next call.

    The noise must lie at the same address in each call, as that of a `NoiseSource` does.
    """

    def __init__(self, encoder: Encoder, *, batch_size: int, l2_weight: float, out: Gradients) -> None:
        self._workspace = encoder.workspace
        self._gradients: Step = partial(gradients, encoder, batch_size=batch_size, l2_weight=l2_weight, out=out)
        self._recording: Recording | None = None

    def __call__(self, x: Tensor, beta: Tensor, noise: BatchNoise | None) -> Forward:
        """See `gradients`."""
        if noise is not None:  # drawn outside the graph, which would replay the generator's state
            for rows in slices(x.shape[1], self._workspace.noise_rows):
                noise(rows)
        if self._recording is None:
            self._recording = self._record(x, beta, noise)
        recording = self._recording
        recording.x.copy_(x)
        recording.beta.copy_(beta)
        recording.graph.replay()
        return recording.result

    def _record(self, x: Tensor, beta: Tensor, noise: BatchNoise | None) -> Recording:
        x, beta = x.clone(), beta.clone()
        warm_up = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
        warm_up.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(warm_up):  # a step that is not recorded: kernels are compiled, libraries allocate
            self._gradients(x.clone(), beta, noise)
        torch.cuda.current_stream(x.device).wait_stream(warm_up)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads read batches meanwhile
            result = self._gradients(x, beta, noise)
        return Recording(graph, x, beta, result)
