"""The data that the pages of a report show."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from analyze.compare.summary.summary import Summary
from analyze.measure.measurements import Measurements, Scope
from analyze.report.charts import Chart
from analyze.report.data import Tables
from analyze.report.figures.catalogue import Section
from analyze.tables import TableRow, layers


class OfHook(TableRow, Protocol):
    """A row of one hook."""

    @property
    def hook(self) -> str: ...


H = TypeVar("H", bound=OfHook)
TALL = 0.9  # height of a figure over its width


@dataclass(frozen=True)
class FigureFile:
    """A drawn figure: the name of its files, the section that shows it, its title and caption, and its image."""

    name: str
    section: Section
    title: str
    caption: str
    png: bytes

    @property
    def base64(self) -> str:
        return base64.b64encode(self.png).decode()

    @property
    def tall(self) -> bool:
        """True if it is higher than a screen when it is as wide as the page, so that the page folds it."""
        width, height = (int.from_bytes(self.png[start : start + 4], "big") for start in (16, 20))  # the PNG's header
        return height > TALL * width


@dataclass(frozen=True)
class Content:
    """The measurements, their summary, tables, charts and figures that the pages show.

    charts: by name.
    command: the command line that repeats the report.
    features: whether the report has a page of features.
    """

    measurements: Measurements
    scope: Scope
    summary: Summary
    tables: Tables
    charts: Mapping[str, Chart]
    figures: Sequence[FigureFile]
    command: str
    features: bool

    @property
    def variants(self) -> list[str]:
        """The architectures, in the order of the runs."""
        return list(dict.fromkeys(run.variant for run in self.measurements.runs))

    @property
    def noisy(self) -> bool:
        """True if a run was trained with noise, and so is measured with noise off and on."""
        return any(len(run.noises) > 1 for run in self.measurements.runs)

    def figures_of(self, section: Section) -> list[FigureFile]:
        """Return the figures that a section shows, in their order."""
        return [figure for figure in self.figures if figure.section == section]

    def with_layers(self, rows: Sequence[H]) -> list[H]:
        """Return rows whose `hook` is the number of its layer, or the hook's name if two hooks have one number."""
        names = dict(zip(self.measurements.hooks, layers(self.measurements.hooks), strict=True))
        return [replace(row, hook=names.get(row.hook, row.hook)) for row in rows]

    @property
    def n_seeds(self) -> int:
        """The number of seeds that runs were trained with."""
        return len({run.settings.run.seed for run in self.measurements.runs})
