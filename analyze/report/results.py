"""All that is measured of some runs on one store, for a report: held-out split, language model, dictionaries, training.

Not here: what is made of it (post/, figures/, report.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from analyze.compare.evidence import Evidence
from analyze.measure import dictionary_summary
from analyze.measure.cache import NOTHING, Kept
from analyze.measure.dictionary import DEFAULTS, Thresholds
from analyze.measure.evaluate import Fires, evaluate
from analyze.measure.heldout import Heldout
from analyze.measure.norms import Norms
from analyze.measure.over_training import OverTraining, over_training
from analyze.measure.patched_model import PatchableModel
from analyze.measure.patching import clean_positions, patch
from analyze.measure.stability import seeds_of_one, stability
from analyze.runs.trained_run import FittedRun
from analyze.runs.training_curves import curves
from analyze.statistics.estimates import Estimates
from analyze.tables import Row
from data.store.reader import Store


@dataclass(frozen=True)
class Scope:
    """How much is measured: held-out contexts, evenly spaced (None: all), for each kind of measure, and the seed.

    No context for snapshots leaves the measures over training out; keep_first leaves position 0 unpatched.
    """

    held_out: int | None = None
    patched: int = 100
    snapshots: int = 8
    seed: int = 0
    keep_first: bool = False


@dataclass(frozen=True)
class Results:
    """See the module."""

    store: Store
    scope: Scope
    heldout: Heldout
    evidence: Evidence
    fires: list[Fires]
    norms: Norms
    stability: list[Row]
    thresholds: Thresholds
    clean_positions: int  # first positions of each context that patching leaves as they are
    left_out: list[Row]  # runs that could not be measured, and why

    @property
    def runs(self) -> Sequence[FittedRun]:
        return self.evidence.runs


def gather(
    store: Store, runs: Sequence[FittedRun], model: PatchableModel | None, scope: Scope, *,
    left_out: Sequence[Row] = (), thresholds: Thresholds = DEFAULTS, device: torch.device | str = "cpu",
    kept: Kept = NOTHING,
) -> Results:  # fmt: skip
    """Measure everything; without a model, what needs none. What was `kept` of a call before is not measured again."""
    there = store.layout.n_heldout_contexts
    scope = replace(scope, patched=min(scope.patched, there), snapshots=min(scope.snapshots, there))
    heldout, seed = Heldout(store, scope.held_out), scope.seed
    held_out, fires = evaluate(heldout, runs, seed=seed, device=device, kept=kept)
    patched, over = Estimates(), OverTraining()
    if model is not None:
        how: dict[str, Any] = {"seed": seed, "keep_first": scope.keep_first, "device": device, "kept": kept}
        patched = patch(model, Heldout(store, scope.patched), runs, **how)
        if scope.snapshots:
            over = over_training(model, Heldout(store, scope.snapshots), runs, **how)
    evidence = Evidence(
        runs, {hook: store.statistics(hook).mean_norm() for hook in store.hooks}, held_out, patched, over, curves(runs),
        [dictionary_summary.of(one, store, thresholds) for one in fires if not one.noise],
    )  # fmt: skip
    alike = stability(fires, seeds_of_one(runs))
    clean = clean_positions(store, keep_first=scope.keep_first) if model is not None else 0
    return Results(store, scope, heldout, evidence, fires, Norms.of(store), alike, thresholds, clean, list(left_out))
