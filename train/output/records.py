"""Measures as records: one JSON object a line, for each run a file, in TensorBoard or Weights & Biases where asked.

A record has `step` and `rows` (after the step), `split` (train: the step's own batch, before the step; heldout),
`hook`, `noise` (whether ε was drawn), and the measures of measures.py. Wall-clock figures are never in it: they go to
timing.jsonl, so that metrics compare bit for bit.

Not here: what is measured (measures.py), when (trainer.py).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from data.errors import InputError
from data.system.location import write_file
from train.measures import Sums, measures
from train.output.metrics_file import Record
from train.step.sae_stack import SAEStack


def stack_records(
    stack: SAEStack, found: Sums, *, step: int, rows: int, split: str, noise: bool, gradient_norms: Tensor | None = None
) -> list[tuple[str, Record]]:
    """(run's name, record) for each SAE of a stack."""
    experiment = stack.experiment
    values = {
        **measures(found, experiment.objective),
        "decoder_norm_mean": (norms := torch.linalg.vector_norm(stack.sae.W_dec, dim=-1)).mean(dim=1),
        "decoder_norm_median": norms.median(dim=1).values,
        "decoder_norm_max": norms.amax(dim=1),
    }
    if gradient_norms is not None:
        values["gradient_norm"] = gradient_norms
    lists = {name: tensor.double().cpu().tolist() for name, tensor in values.items()}
    dead = stack.counts.dead_fraction()
    dead_list = [None] * len(stack.entries) if dead is None else dead.cpu().tolist()
    return [
        (
            entry.run.name,
            {
                "step": step, "rows": rows, "split": split, "hook": experiment.hooks[entry.layer], "noise": noise,
                **{name: _finite(several[i]) for name, several in lists.items()}, "dead": dead_list[i],
            },
        )
        for i, entry in enumerate(stack.entries)
    ]  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class Sink(Protocol):
    """Somewhere else that records go to."""

    def write(self, run: str, records: Sequence[Record]) -> None: ...

    def close(self) -> None: ...


def check_logs(logs: Sequence[str]) -> None:
    """Raise InputError where a log is asked for that there is not, or whose library is missing."""
    for log in logs:
        if log not in SINKS:
            raise InputError(f"--log {log}: there is none of this name; give {' or '.join(SINKS)}")
        if find_spec(log) is None:
            raise InputError(f"--log {log}: its library is not installed; pip install {log}")


def open_sinks(logs: Sequence[str], out: Path, settings: Record) -> list[Sink]:
    """The sinks asked for."""
    return [SINKS[log](out, settings) for log in logs]


def scalars(record: Record) -> dict[str, float]:
    """A record's measures under names that a dashboard groups by: heldout/blocks.0.hook_mlp_out/l0."""
    kind = f"{record['split']}{'_noise' if record['noise'] and record['split'] == 'heldout' else ''}"
    skipped = ("step", "rows", "split", "hook", "noise")
    return {f"{kind}/{record['hook']}/{k}": v for k, v in record.items() if k not in skipped and v is not None}


class TensorBoard:
    """One TensorBoard run a run, in its own folder."""

    def __init__(self, out: Path, settings: Record) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make, self._out = SummaryWriter, out
        self._writers: dict[str, Any] = {}

    def write(self, run: str, records: Sequence[Record]) -> None:
        if run not in self._writers:
            self._writers[run] = self._make(str(self._out / run / "tensorboard"))
        for record in records:
            for name, value in scalars(record).items():
                self._writers[run].add_scalar(name, value, record["rows"])

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class WeightsAndBiases:
    """One W&B run for the experiment; a run's name leads its measures' names.

    Its identity is kept in the experiment's folder: an experiment that continues, continues it.
    """

    def __init__(self, out: Path, settings: Record) -> None:
        import wandb

        out.mkdir(parents=True, exist_ok=True)
        kept = out / "wandb_run_id"
        if not kept.exists():
            write_file(kept, secrets.token_hex(4).encode())
        self._run = wandb.init(
            project="nsae-pipeline", name=out.name, dir=str(out), config=settings, id=kept.read_text(encoding="ascii"),
            resume="allow",
        )  # fmt: skip
        self._held: dict[str, float] = {}
        self._rows = 0

    def write(self, run: str, records: Sequence[Record]) -> None:
        for record in records:
            if record["rows"] != self._rows:
                self._flush()
                self._rows = record["rows"]
            self._held |= {f"{run}/{name}": value for name, value in scalars(record).items()}

    def close(self) -> None:
        self._flush()
        self._run.finish()

    def _flush(self) -> None:
        if self._held:
            self._run.log(self._held, step=self._rows)
            self._held = {}


SINKS: dict[str, Callable[[Path, Record], Sink]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
