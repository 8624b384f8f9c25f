"""A batch on the device that trains. On a GPU the next batch is copied while the current one is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from train.sae.batch_split import WHOLE


@dataclass(frozen=True)
class Inputs:
    """A batch: x float32 [layers, batch, d_model], and norms ‖x‖₂ [layers, batch]."""

    x: Tensor
    norms: Tensor

    @classmethod
    def of(cls, batch: Tensor, device: torch.device) -> Inputs:
        """From a batch [layers, batch, d_model] of any floating type."""
        x = batch.to(device).to(torch.float32)
        return cls(x, torch.linalg.vector_norm(x, dim=-1))


def inputs(batches: Iterator[Tensor], device: torch.device, rows: slice = WHOLE.rows) -> Iterator[Inputs]:
    """Yield some rows of each batch [batch, layers, d_model] as Inputs.

    They may be overwritten once the next ones are asked for.
    """
    stacked = (batch[rows].transpose(0, 1) for batch in batches)
    return _ahead(stacked, device) if device.type == "cuda" else (Inputs.of(batch, device) for batch in stacked)


def _ahead(batches: Iterator[Tensor], device: torch.device) -> Iterator[Inputs]:
    """Copy one batch ahead, on a CUDA stream of its own."""
    copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def start_copy() -> tuple[Tensor, torch.cuda.Event] | None:
        batch = next(batches, None)
        if batch is None:
            return None
        with torch.cuda.stream(copies):
            return batch.to(device, non_blocking=True), copies.record_event()

    upcoming = start_copy()
    while upcoming is not None:
        current, arrived = upcoming
        arrived.synchronize()  # before its memory on the host may be overwritten
        current.record_stream(torch.cuda.current_stream(device))
        upcoming = start_copy()
        yield Inputs.of(current, device)
