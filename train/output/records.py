"""Turn the sums of a stack of SAEs into records, the lines of metrics.jsonl.

A record has `step` and `rows` (trained so far, this step included), `split` ("train": the step's own batch, measured
before the step; "heldout"), `hook`, `noise` (whether noise was drawn), the measures of measures.py, and `dead_rows`,
the count of rows that `dead` is taken over. Clock times go to timing.jsonl instead, so metrics.jsonl can be compared
byte by byte.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from train.measures import DEAD_ROWS
from train.output.metrics_file import Record
from train.step.sae_stack import SAEStack
from train.sums import Sums


def stack_records(
    stack: SAEStack, sums: Sums, *, step: int, rows: int, split: str, noise: bool, gradient_norms: Tensor | None = None
) -> list[tuple[str, Record]]:
    """Return (run's name, record) for each SAE of a stack; a measure that is undefined is None."""
    experiment = stack.experiment
    values = {
        **sums.measures(),
        "decoder_norm_mean": (norms := torch.linalg.vector_norm(stack.sae.W_dec, dim=-1)).mean(dim=1),
        "decoder_norm_median": norms.median(dim=1).values,
        "decoder_norm_max": norms.amax(dim=1),
    }
    values |= stack.controlled()
    if stack.l0_controller is not None:
        values["mean_l0"] = stack.l0_controller.mean_l0
    if gradient_norms is not None:
        values["gradient_norm"] = gradient_norms
    columns = {name: tensor.double().cpu().tolist() for name, tensor in values.items()}
    dead = stack.counts.dead_fraction()
    dead_column = [None] * len(stack.entries) if dead is None else dead.cpu().tolist()
    dead_rows = None if dead is None else stack.counts.last_rows
    return [
        (
            entry.run.name,
            {
                "step": step, "rows": rows, "split": split, "hook": experiment.hooks[entry.layer], "noise": noise,
                **{name: _finite(column[i]) for name, column in columns.items()}, "dead": dead_column[i],
                DEAD_ROWS: dead_rows,
            },
        )
        for i, entry in enumerate(stack.entries)
    ]  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
