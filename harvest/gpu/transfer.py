"""Copies between the host and a GPU that the host does not wait for: each takes its turn on the current stream."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(values: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a tensor on the device; on a CPU in the same memory."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def to_host(values: Tensor) -> Tensor:
    """Return a copy on the host, which is pinned for a GPU, and complete once the stream has come to it."""
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda).copy_(values, non_blocking=True)
