"""A figure of the report, and what its text depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from analyze.measure.measurements import Measurements
from analyze.runs.families import families
from analyze.tables import TableRow

Families = Mapping[str, Sequence[str]]  # names of runs or configurations by family, in the order of α


@dataclass(frozen=True)
class ReportFigure:
    """A figure with its text, and the rows that it is drawn from; `name` is that of its PNG and CSV files."""

    name: str
    title: str
    caption: str
    figure: Figure
    rows: Sequence[TableRow]


def runs_by_family(measurements: Measurements) -> Families:
    """Return the names of the runs by family, in the order of α."""
    by_family = measurements.families.items()
    return {name: [run.name for run in sorted(runs, key=lambda run: run.sparsity)] for name, runs in by_family}


def configurations_by_family(measurements: Measurements) -> Families:
    """Return the names of the configurations by family, in the order of α."""
    by_family = families(measurements.configurations).items()
    return {
        name: [member.name for member in sorted(members, key=lambda member: member.sparsity)]
        for name, members in by_family
    }


def has_noise(measurements: Measurements) -> bool:
    """Return whether a run was trained with noise, so measured with noise off and on."""
    return any(len(run.noises) > 1 for run in measurements.runs)


def has_variant(measurements: Measurements, variant: str) -> bool:
    """Return whether a run has this architecture."""
    return any(run.variant == variant for run in measurements.runs)
