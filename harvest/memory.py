"""Check whether a batch fits in memory, before the model is loaded."""

from __future__ import annotations

import torch

from data.command.sizes import human_bytes
from data.errors import InputError
from data.store.encodings import ENCODINGS
from data.system.limits import available_memory
from harvest.model.base import ModelFacts
from harvest.pipeline import N_BUFFERS
from harvest.request import Request

PASS_VALUES = 4  # float32 values that a forward pass holds at once, per token and unit of d_model; a lower bound


def check_batch(request: Request, facts: ModelFacts, device: torch.device) -> None:
    """Raise InputError if the pipeline's buffers and, on a CPU, the forward pass exceed the free memory.

    The estimate is a lower bound: no batch that fits is refused.
    """
    contexts = min(request.batch_size, request.n_contexts)
    n_hooks = len(request.hooks) * len(request.layers)
    per_row = n_hooks * ENCODINGS[request.dtype].row_bytes(facts.d_model)
    need = N_BUFFERS * request.batch_size * (request.context_size - request.skip_positions) * per_row
    if device.type == "cpu":
        need += PASS_VALUES * 4 * contexts * request.context_size * facts.d_model
    free = available_memory()
    if need > free:
        raise InputError(
            f"--batch-size {request.batch_size}: batches of so many contexts of {request.context_size} tokens need "
            f"{human_bytes(need)} of memory, and {human_bytes(free)} are free; give less"
        )
