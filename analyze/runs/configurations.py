"""Configurations: the settings that replicas share. Replicas are trainings that differ only in their seeds."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimates, Key, over_replicas
from train.output.settings import RunSettings

SEED_PARTS = re.compile(r"_seed=\d+|data_seed=\d+/")  # of the name of a run or of its experiment's folder


@dataclass(frozen=True)
class Configuration:
    """A setting of an SAE, with its replicas. It is one point of a curve, however many seeds were trained.

    name: that of its run, without the seed if there are several replicas.
    replicas: ordered by data seed, then by seed.
    copies: runs with the seeds of a replica. They add nothing to its estimates.
    """

    name: str
    replicas: tuple[TrainedRun, ...]
    copies: tuple[TrainedRun, ...] = ()

    @property
    def runs(self) -> list[TrainedRun]:
        """The replicas and the copies."""
        return [*self.replicas, *self.copies]

    @property
    def settings(self) -> RunSettings:
        """The settings of the first replica: those of the others except the seeds."""
        return self.replicas[0].settings

    @property
    def hooks(self) -> list[str]:
        return self.replicas[0].hooks

    @property
    def variant(self) -> str:
        return self.replicas[0].variant

    @property
    def l1(self) -> float:
        """The sparsity coefficient α."""
        return self.replicas[0].l1

    @property
    def sparsity(self) -> tuple[float, float]:
        """Orders configurations of one architecture by how sparse they are asked to be, as `TrainedRun.sparsity`."""
        return self.replicas[0].sparsity

    @property
    def target_l0(self) -> float | None:
        """The mean L0 that the runs were to have: their `--target-l0`, else their k; None if they have neither."""
        return self.replicas[0].target_l0 or None

    @property
    def noises(self) -> tuple[bool, ...]:
        """The noise settings to measure with, as `TrainedRun.noises`."""
        return self.replicas[0].noises

    @property
    def trained(self) -> int:
        """Rows that the least trained replica was trained on."""
        return min(run.trained for run in self.replicas)

    @property
    def planned(self) -> int:
        """Rows of the whole training of each replica."""
        return self.replicas[0].planned

    @property
    def finished(self) -> bool:
        """True if all replicas are finished."""
        return all(run.finished for run in self.replicas)


def configurations(runs: Sequence[TrainedRun]) -> list[Configuration]:
    """Return the configurations of runs, in the order of their first runs."""
    members: dict[str, list[TrainedRun]] = {}
    for run in runs:
        members.setdefault(_without_seeds(run), []).append(run)
    alike = [_configuration(replicas) for replicas in members.values()]
    count = Counter(configuration.name for configuration in alike)
    return [
        configuration if count[configuration.name] == 1 else replace(configuration, name=configuration.replicas[0].name)
        for configuration in alike
    ]


def _configuration(runs: Sequence[TrainedRun]) -> Configuration:
    first = {seeds_of(run): run for run in reversed(runs)}
    replicas = tuple(first[seeds] for seeds in sorted(first))
    return Configuration(_shared_name(replicas), replicas, tuple(run for run in runs if run not in replicas))


def seeds_of(run: TrainedRun) -> tuple[int, int]:
    """Return the seed of the order of the rows, and that of the initialisation, the noise and the resampling."""
    return run.settings.experiment.data_seed, run.settings.run.seed


def all_replicas(configurations: Iterable[Configuration]) -> list[TrainedRun]:
    """Return the runs of configurations."""
    return [run for configuration in configurations for run in configuration.replicas]


def of_configurations(estimates: Estimates, configurations: Iterable[Configuration]) -> Estimates:
    """Return the estimates of configurations, under their names, from those of their replicas.

    A configuration has the estimates that all of its replicas have.
    """
    keys_of_run: dict[str, list[Key]] = {}
    for key in estimates:
        keys_of_run.setdefault(key.run, []).append(key)
    combined: Estimates = {}
    for configuration in configurations:
        for key in keys_of_run.get(configuration.replicas[0].name, ()):
            keys = [key._replace(run=run.name) for run in configuration.replicas]
            if all(key_of_run in estimates for key_of_run in keys):
                combined[key._replace(run=configuration.name)] = over_replicas(
                    [estimates[key_of_run] for key_of_run in keys]
                )
    return combined


def _without_seeds(run: TrainedRun) -> str:
    """Return the settings on which a run's results depend, except its seeds, as text."""
    experiment, run_settings = run.settings.experiment, run.settings.run
    alike = replace(experiment, data_seed=0, runs=(replace(run_settings, name="", seed=0),))
    settings = replace(run.settings, experiment=alike).to_json()
    del settings["reports"]  # how often a training is measured changes no result
    return json.dumps(settings, sort_keys=True)


def _shared_name(replicas: Sequence[TrainedRun]) -> str:
    """Return the name of a run, or that of several replicas without their seeds."""
    if len(replicas) == 1:
        return replicas[0].name
    names = {SEED_PARTS.sub("", run.name) for run in replicas}
    return names.pop() if len(names) == 1 else SEED_PARTS.sub("", replicas[0].folder.path.name)
