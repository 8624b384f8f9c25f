"""The estimate of a harvest's size and time, from the speed of a few batches and of the disk."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from data.command.sizes import human_bytes
from data.system.limits import write_threads
from harvest.output.store_size import StoreSize, store_size
from harvest.output.write_speed import write_speed
from harvest.request import expected_schema, widths_are_known
from harvest.run import Harvest

TIMED_BATCHES = 3


@dataclass(frozen=True)
class HarvestEstimate(StoreSize):
    """The size of a store, and the time of its harvest, without tokenising.

    tokens_per_second: the speed of the slower of the forward pass and the disk. The disk's speed is None for a small
    store, for which it is not measured.
    """

    tokens_per_second: float
    seconds: float
    forward_tokens_per_second: float
    disk_bytes_per_second: float | None
    disk_tokens_per_second: float | None
    widths_known: bool  # otherwise hooks are counted as d_model wide

    def describe(self) -> str:
        """Return the estimate in two or three lines."""
        lines = [
            super().describe(),
            f"about {_duration(self.seconds)} at {self.tokens_per_second:,.0f} tokens/s, without tokenising",
        ]
        if self.disk_bytes_per_second is not None and self.disk_tokens_per_second is not None:
            lines[1] += (
                f"; the disk takes {human_bytes(self.disk_bytes_per_second)}/s, which is "
                f"{self.disk_tokens_per_second:,.0f} tokens/s, and the forward pass makes "
                f"{self.forward_tokens_per_second:,.0f} tokens/s"
            )
        if not self.widths_known:
            lines.append("hooks other than the standard ones are counted as d_model wide")
        return "\n".join(lines)


def estimate(harvest: Harvest) -> HarvestEstimate:
    """Load the harvest's model, time it, and return the estimate. Raises InputError if the model cannot be loaded."""
    schema = expected_schema(harvest.request, harvest.inputs.facts)
    forward, threads = measure_rate(harvest), write_threads(on_gpu=harvest.device.type == "cuda")
    speed = write_speed(harvest.out, schema, threads, harvest.keep)
    disk = None if speed is None else speed.bytes_per_second
    token_bytes = schema.total_bytes() / harvest.request.n_tokens
    disk_tokens = None if disk is None else disk / token_bytes
    rate = forward if disk_tokens is None else min(forward, disk_tokens)
    return HarvestEstimate(
        **vars(store_size(harvest.out, schema, harvest.keep)), tokens_per_second=rate,
        seconds=harvest.request.n_tokens / rate,
        forward_tokens_per_second=forward, disk_bytes_per_second=disk, disk_tokens_per_second=disk_tokens,
        widths_known=widths_are_known(harvest.request),
    )  # fmt: skip


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def measure_rate(harvest: Harvest) -> float:
    """Return the speed of the forward pass in tokens per second, on random tokens."""
    request, device = harvest.request, harvest.device
    model = harvest.load_model()
    shape = (request.batch_size, request.context_size)
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, harvest.inputs.facts.vocab_size, shape)).to(device)
    seconds = []
    for _ in range(TIMED_BATCHES):
        begin = time.perf_counter()
        model.capture(tokens, lambda name, value: None)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return float(tokens.numel() / min(seconds))
