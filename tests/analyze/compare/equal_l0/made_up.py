"""Made-up runs of two families, measured on documents of uneven lengths, whose true differences are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from analyze.compare.equal_l0.comparison import Comparison, compare
from analyze.compare.equal_l0.matched import key_of
from analyze.compare.equal_l0.matching import Matching
from analyze.compare.equal_l0.sides import Side, find_sides
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, Estimates
from tests.analyze.experiments import experiment
from train.experiment import Run
from train.output.run_folder import RunFolder
from train.output.settings import RunSettings
from train.variants import BaselineSettings, NSAESettings

HOOKS = [f"blocks.{i}.hook_mlp_out" for i in range(6)]
DOCUMENTS = 60


def run(name: str, variant: str, l1: float, seed: int, *, folder: str = "runs") -> TrainedRun:
    """Return a finished run at all HOOKS that has settings but no files."""
    configured = Run(name, variant, 1e-3, seed, "none", NSAESettings(l1) if variant == "nsae" else BaselineSettings(l1))
    settings = RunSettings(replace(experiment(HOOKS), runs=(configured,)), provenance={})
    return TrainedRun(name, RunFolder(Path(folder) / name), settings, trained=96)


def family(variant: str, n_seeds: int, l1: Sequence[float] = (1.0,), folder: str = "runs") -> list[TrainedRun]:
    """Return runs of one family: `n_seeds` replicas of each sparsity setting."""
    return [
        run(f"{folder}/{variant} {value:g} {seed}", variant, value, seed, folder=folder)
        for value in l1
        for seed in range(n_seeds)
    ]


def replaced_seed(trained: TrainedRun, seed: int) -> TrainedRun:
    """Return the run with another seed."""
    (run_settings,) = trained.settings.experiment.runs
    changed = replace(trained.settings.experiment, runs=(replace(run_settings, seed=seed),))
    return replace(trained, settings=replace(trained.settings, experiment=changed))


def two_families(n_seeds: int) -> list[Side]:
    return find_sides([*family("baseline", n_seeds), *family("nsae", n_seeds)], [Path("runs")])


def measured(
    sides: Sequence[Side], true: Mapping[str, Sequence[float]], *, measure: str = "nats_lost", seed: int = 0,
    seed_spread: float = 0.002, document_spread: float = 0.02, documents: int = DOCUMENTS,
) -> Estimates:  # fmt: skip
    """Return L0 = 40 and a measure of all runs.

    true: the measure's true value at each hook, by side. Documents' effects on the sides differ, those on replicas are
    the same but for noise.
    """
    rng = np.random.default_rng(seed)
    tokens = np.minimum(np.round(rng.lognormal(5.5, 0.8, documents)), 512)
    shares, estimates = tokens / tokens.sum(), Estimates()
    for side in sides:
        for hook, value in zip(HOOKS, true[side.name], strict=True):
            shared = document_spread * rng.normal(size=documents)
            for trained in side.runs:
                replicates = (
                    value + seed_spread * rng.normal() + shared + 0.2 * document_spread * rng.normal(size=documents)
                )
                estimates[key_of(trained, hook, measure)] = mean_over_documents(replicates, shares)
                estimates[key_of(trained, hook, "l0")] = mean_over_documents(np.full(documents, 40.0), shares)
    return estimates


def mean_over_documents(values: np.ndarray, shares: np.ndarray) -> Estimate:
    mean = float(values @ shares)
    return Estimate(mean, (mean - values * shares) / (1 - shares), shares)


def matching_of(
    sides: Sequence[Side], estimates: Estimates, measure: str, hooks: Sequence[str] = tuple(HOOKS)
) -> Matching:
    return Matching({"l0": estimates, measure: estimates}, sides, hooks)


def compared(sides: Sequence[Side], estimates: Estimates, *, measure: str = "nats_lost", l0: float = 40) -> Comparison:
    (comparison,) = compare(matching_of(sides, estimates, measure), [measure], [l0], [], "document")
    return comparison
