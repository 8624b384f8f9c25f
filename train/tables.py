"""Measures as text: the table of held-out measures, and the summary of a batch beside the progress bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from train.architectures import architecture_of
from train.experiment import Run
from train.measures import DEAD_ROWS, TRAINING, dead_title
from train.output.metrics_file import Record

COLUMNS = ("loss", "l0", "explained_variance", "suppression", "dead")


def heldout_table(records: Mapping[str, Sequence[Record]]) -> str:
    """Return a table with a line per run: the rows it was trained on, and means over layers of its held-out records.

    The dead share is unknown before the first complete `--window`; until then it has no column.
    """
    counted = max((record[DEAD_ROWS] or 0 for run_records in records.values() for record in run_records), default=0)
    columns = [TRAINING[name] for name in COLUMNS if name != "dead" or counted]
    titles = [dead_title(counted) if measure.name == "dead" else measure.title for measure in columns]
    table = [["held-out", "rows", *titles]]
    for run, run_records in records.items():
        means = [_mean(run_records, measure.name) for measure in columns]
        rows = f"{run_records[0]['rows']:,}" if run_records else "–"
        table.append([run, rows, *("–" if mean is None else f"{mean:.4g}" for mean in means)])
    first, *widths = (max(map(len, column)) for column in zip(*table, strict=True))
    return "\n".join(
        f"{name:<{first}}" + "".join(f"{cell:>{max(10, width + 2)}}" for cell, width in zip(cells, widths, strict=True))
        for name, *cells in table
    )


def with_noise(runs: Sequence[Run], records: Mapping[str, Sequence[Record]], *, noise: bool) -> dict[str, list[Record]]:
    """Select each run's records with noise on if `noise` is set and its architecture has noise, else with noise off."""
    noisy = {run.name: noise and architecture_of(run.variant).uses_noise for run in runs}
    return {
        name: [record for record in run_records if record["noise"] == noisy[name]]
        for name, run_records in records.items()
    }


def batch_summary(records: Sequence[Record], n_runs: int) -> str:
    """Return the loss and L0 of a training batch, means over the runs and layers for which they are defined."""
    loss, l0 = (_mean(records, name) for name in ("loss", "l0"))
    if loss is None or l0 is None:
        return ""
    n_layers = len(records) // max(n_runs, 1)
    mean = f", mean over {n_runs} × {n_layers} SAEs (runs × layers)" if len(records) > 1 else ""
    return f"last logged batch{mean}: loss {loss:.4g}, L0 {l0:.1f}"


def _mean(records: Sequence[Record], name: str) -> float | None:
    values = [record[name] for record in records if record[name] is not None]
    return sum(values) / len(values) if values else None
