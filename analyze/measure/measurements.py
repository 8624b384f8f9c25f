"""All measurements of a set of runs on one store. Claims, figures and the report are made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from analyze.measure.cache import NO_CACHE, MeasurementCache
from analyze.measure.dictionary import DEFAULTS, Thresholds
from analyze.measure.dictionary_summary import DictionarySummary, summarize_dictionary
from analyze.measure.evaluate import measure_heldout
from analyze.measure.firing import FeatureActivity, dead_shares
from analyze.measure.heldout import Heldout
from analyze.measure.norms import Norms
from analyze.measure.patching.model import PatchableModel
from analyze.measure.patching.over_training import OverTraining, over_training
from analyze.measure.patching.patch import patch
from analyze.measure.stability import StabilityRow, pairs_of_replicas, stability
from analyze.runs.configurations import Configuration, configurations, of_configurations
from analyze.runs.families import FamilyPair, families, family_pairs, kind_of
from analyze.runs.progress import LeftOut
from analyze.runs.settled import Drift, drifts
from analyze.runs.trained_run import TrainedRun, all_hooks
from analyze.runs.training_curves import TrainingCurve, training_curves
from analyze.statistics.estimates import Estimate, Estimates, Key
from data.store.reader import Store
from data.store.stats import Subset


@dataclass(frozen=True)
class Scope:
    """The held-out contexts that each kind of measure uses, and its other settings.

    heldout: contexts for measures that do not run the language model.
    patched: contexts for measures that run it.
    snapshots: contexts for measures over training, which run it on every snapshot; None skips these measures.
    seed: seed of NSAE's noise.
    keep_first: whether patching leaves position 0 of each context unchanged.
    thresholds: norms and cosines that define pillars, corrections and directions.
    """

    heldout: Heldout
    patched: Heldout
    snapshots: Heldout | None
    seed: int = 0
    keep_first: bool = False
    thresholds: Thresholds = DEFAULTS

    @property
    def store(self) -> Store:
        return self.heldout.store


@dataclass(frozen=True)
class Measurements:
    """Everything measured of some runs on one store. A measurement that was not made is empty.

    norms: norms of the training split's activations, per hook.
    held_out, patched: estimates without and with the language model.
    over_training: estimates with the language model at each snapshot.
    training: the measures that training recorded, as curves.
    drifts: how much these still changed at the end of training (see `runs/settled.py`).
    dictionaries, fires: one entry per SAE; dictionaries with noise off only.
    stability: one row per pair of runs that differ only in the seed, and hook.
    left_out: the runs that could not be measured.
    """

    runs: Sequence[TrainedRun]
    norms: Norms
    held_out: Estimates = field(default_factory=dict)
    patched: Estimates = field(default_factory=dict)
    over_training: OverTraining = field(default_factory=dict)
    training: Sequence[TrainingCurve] = ()
    drifts: Sequence[Drift] = ()
    dictionaries: Sequence[DictionarySummary] = ()
    fires: Sequence[FeatureActivity] = ()
    stability: Sequence[StabilityRow] = ()
    left_out: Sequence[LeftOut] = ()

    @cached_property
    def configurations(self) -> list[Configuration]:
        """The configurations of the runs: one for all runs that differ only in their seeds."""
        return configurations(self.runs)

    @cached_property
    def held_out_of_configurations(self) -> Estimates:
        """The estimates without the language model, and the dead shares, over each configuration's replicas."""
        return of_configurations(self.held_out | dead_shares(self.fires), self.configurations)

    @cached_property
    def patched_of_configurations(self) -> Estimates:
        """The estimates with the language model, over the replicas of each configuration."""
        return of_configurations(self.patched, self.configurations)

    @cached_property
    def families(self) -> dict[str, list[TrainedRun]]:
        return families(self.runs)

    @cached_property
    def hooks(self) -> list[str]:
        return all_hooks(self.runs)

    def of_kind(self, kind: str) -> dict[str, list[TrainedRun]]:
        """Return the families of a kind (see `families.py`)."""
        return {name: runs for name, runs in self.families.items() if kind_of(runs[0]) == kind}

    def pairs(self) -> list[FamilyPair]:
        """Return each baseline family with each NSAE family."""
        return list(family_pairs(self.families))

    def mean_norm(self, hook: str, positions: str = Subset.ALL) -> float:
        """Return the mean ‖x‖₂ of the training split. positions: all, all but 0, or "0"."""
        norms = self.norms.by_hook[hook]
        if positions in set(Subset):
            return norms.mean_norm(Subset(positions))
        (rows, norm), (others, norm_of_others) = (
            (norms.count(subset), norms.count(subset) * norms.mean_norm(subset)) for subset in Subset
        )
        return (norm - norm_of_others) / (rows - others)

    def value(self, run: TrainedRun, hook: str, measure: str) -> Estimate | None:
        """Return a measure of the held-out split with noise off, over all positions; None if it was not measured."""
        return self.held_out.get(Key(run.name, hook, False, Subset.ALL, measure))


def gather(
    scope: Scope, runs: Sequence[TrainedRun], model: PatchableModel | None, *, left_out: Sequence[LeftOut] = (),
    device: torch.device | str = "cpu", cache: MeasurementCache = NO_CACHE,
) -> Measurements:  # fmt: skip
    """Measure the runs; with `model` None, skip the measures that need the language model.

    Partial results are saved in `cache` and read from it.
    """
    store = scope.store
    held_out, fires = measure_heldout(scope.heldout, runs, seed=scope.seed, device=device, cache=cache)
    patched, snapshots = Estimates(), OverTraining()
    if model is not None:
        options: dict[str, Any] = {"seed": scope.seed, "keep_first": scope.keep_first, "device": device, "cache": cache}
        patched = patch(model, scope.patched, runs, **options)
        if scope.snapshots is not None:
            snapshots = over_training(model, scope.snapshots, runs, **options)
    curves = training_curves(runs)
    return Measurements(
        runs, Norms.of(store), held_out, patched, snapshots, curves, drifts(curves, runs),
        [summarize_dictionary(sae, store, scope.thresholds) for sae in fires if not sae.noise], fires,
        stability(fires, pairs_of_replicas(runs)), left_out,
    )  # fmt: skip
