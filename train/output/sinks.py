"""Send records to TensorBoard or Weights & Biases, beside metrics.jsonl (`train --log`)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from data.errors import InputError
from data.system.location import write_file
from train.output.metrics_file import ABOUT, Record


class Sink(Protocol):
    """A place that records are sent to."""

    def write(self, run: str, records: Sequence[Record]) -> None: ...

    def close(self) -> None: ...


def check_logs(logs: Sequence[str]) -> None:
    """Raise InputError if one of the logs asked for does not exist, or its library is missing."""
    for log in logs:
        if log not in SINKS:
            raise InputError(f"--log {log}: there is no such log; give {' or '.join(SINKS)}")
        if find_spec(log) is None:
            raise InputError(f"--log {log}: its library is not installed; pip install {log}")


def open_sinks(logs: Sequence[str], out: Path, settings: Record) -> list[Sink]:
    """Open the sinks named; `out` is the experiment's folder, `settings` its settings."""
    return [SINKS[log](out, settings) for log in logs]


def scalars(record: Record) -> dict[str, float]:
    """Return a record's measures under names that a dashboard groups by: heldout/blocks.0.hook_mlp_out/l0."""
    kind = f"{record['split']}{'_noise' if record['noise'] and record['split'] == 'heldout' else ''}"
    return {f"{kind}/{record['hook']}/{k}": v for k, v in record.items() if k not in ABOUT and v is not None}


class TensorBoard:
    """One TensorBoard run per run, in the run's folder."""

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
    """One W&B run per experiment; measures' names begin with the run's name.

    The W&B run's id is kept in the experiment's folder, so a resumed experiment continues the same W&B run.
    """

    def __init__(self, out: Path, settings: Record) -> None:
        import wandb

        out.mkdir(parents=True, exist_ok=True)
        id_file = out / "wandb_run_id"
        if not id_file.exists():
            write_file(id_file, secrets.token_hex(4).encode())
        self._run = wandb.init(
            project="nsae-pipeline", name=out.name, dir=str(out), config=settings,
            id=id_file.read_text(encoding="ascii"), resume="allow",
        )  # fmt: skip
        self._unsent: dict[str, float] = {}
        self._rows = 0

    def write(self, run: str, records: Sequence[Record]) -> None:
        for record in records:
            if record["rows"] != self._rows:
                self._flush()
                self._rows = record["rows"]
            self._unsent |= {f"{run}/{name}": value for name, value in scalars(record).items()}

    def close(self) -> None:
        self._flush()
        self._run.finish()

    def _flush(self) -> None:
        if self._unsent:
            self._run.log(self._unsent, step=self._rows)
            self._unsent = {}


SINKS: dict[str, Callable[[Path, Record], Sink]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
