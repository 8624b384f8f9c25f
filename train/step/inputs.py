"""A batch on the device that trains; on a GPU the next one is on its way while the present one is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Inputs:
    """x float32 [layers, batch, d_model], and norms ‖x‖₂ [layers, batch]."""

    x: Tensor
    norms: Tensor

    @classmethod
    def of(cls, batch: Tensor, device: torch.device) -> Inputs:
        """From a batch as streamed: [layers, batch, d_model] of any floating type."""
        x = batch.to(device).to(torch.float32)
        return cls(x, torch.linalg.vector_norm(x, dim=-1))


def inputs(batches: Iterator[Tensor], device: torch.device) -> Iterator[Inputs]:
    """Of each batch [batch, layers, d_model], a view that is overwritten once the next has been asked for."""
    stacked = (batch.transpose(0, 1) for batch in batches)
    return _ahead(stacked, device) if device.type == "cuda" else (Inputs.of(batch, device) for batch in stacked)


def _ahead(batches: Iterator[Tensor], device: torch.device) -> Iterator[Inputs]:
    """One batch ahead, copied beside the steps by a stream of its own."""
    copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def copied() -> tuple[Tensor, torch.cuda.Event]:
        batch = next(batches)
        with torch.cuda.stream(copies):
            found = batch.to(device, non_blocking=True)
            return found, copies.record_event()

    coming, arrived = copied()
    while True:
        arrived.synchronize()  # before its memory on the host may be overwritten
        here = coming
        here.record_stream(torch.cuda.current_stream(device))
        coming, arrived = copied()
        yield Inputs.of(here, device)
