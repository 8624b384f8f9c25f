"""The sides of a comparison: families of runs, or folders of runs if all are of one family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analyze.runs.configurations import Configuration, all_replicas, configurations
from analyze.runs.families import families
from analyze.runs.trained_run import TrainedRun, short_names


@dataclass(frozen=True)
class Side:
    """A side of a comparison: a family's configurations."""

    name: str
    configurations: Sequence[Configuration]

    @property
    def runs(self) -> list[TrainedRun]:
        return all_replicas(self.configurations)


def find_sides(runs: Sequence[TrainedRun], paths: Sequence[Path]) -> list[Side]:
    """Return a side per family or, if all runs are of one family, a side per folder of `paths`.

    paths: the folders that contain the runs; with fewer than two of them, families alone are sides.
    """
    by_family = families(runs)
    if len(by_family) > 1 or len(paths) < 2:
        return [Side(name, configurations(members)) for name, members in by_family.items()]
    rest, sides = list(runs), []
    for path, name in short_names([path.resolve() for path in paths]).items():
        members = [run for run in rest if run.folder.path.resolve().is_relative_to(path)]
        rest = [run for run in rest if run not in members]
        if members:
            sides.append(Side(name, configurations(members)))
    return sides


def targets(sides: Sequence[Side]) -> list[float]:
    """Return the L0, ascending, that runs of at least two sides were asked for, by `--target-l0` or k."""
    known = [{target for run in side.runs if (target := _target(run))} for side in sides]
    return sorted(target for target in set[float]().union(*known) if sum(target in of_side for of_side in known) > 1)


def _target(run: TrainedRun) -> float:
    settings = run.settings.run.to_json()
    return float(settings.get("target_l0") or settings.get("k") or 0)
