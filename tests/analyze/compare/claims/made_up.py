"""Made-up measurements of two families of runs at twelve layers, for which the verdicts are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from analyze.compare.claims.claim import Claim
from analyze.measure.dictionary_summary import DictionaryRow, DictionarySummary
from analyze.measure.measurements import Measurements
from analyze.measure.norms import Norms
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, Estimates, Key
from data.store.stats import N_BINS, NormStats
from tests.analyze.experiments import experiment
from train.experiment import Run
from train.output.run_folder import RunFolder
from train.output.settings import RunSettings
from train.variants import BaselineSettings, NSAESettings

N = 12
HOOKS = [f"blocks.{i}.hook_mlp_out" for i in range(N)]
MEAN_NORMS = dict(zip(HOOKS, np.exp(np.linspace(0, 3, N)).tolist(), strict=True))


def stats_of(norm: float) -> NormStats:
    """Return the statistics of one row with this norm."""
    rows = np.tile([1.0, norm, norm**2, norm], (2, 1))
    return NormStats(np.zeros((2, 2, 1)), rows, np.zeros((2, N_BINS), dtype=np.int64))


NORMS = Norms("made-up", {hook: stats_of(norm) for hook, norm in MEAN_NORMS.items()})
RNG = np.random.default_rng(0)
GROUPS = 40
SHARES = np.full(GROUPS, 1 / GROUPS)
SHOCK = {"baseline": RNG.normal(size=GROUPS) / GROUPS, "nsae": RNG.normal(size=GROUPS) / GROUPS}


def run(name: str, variant: str, l1: float, *, l1_power: int = 0, sigma: float = 1.0) -> TrainedRun:
    """Return a run at all HOOKS that has settings but no files."""
    architecture = NSAESettings(l1, l1_power, sigma) if variant == "nsae" else BaselineSettings(l1, l1_power)
    run_settings = Run(name, variant, 1e-3, 0, "none", architecture)
    settings = RunSettings(replace(experiment(HOOKS), runs=(run_settings,)), provenance={})
    return TrainedRun(name, RunFolder(Path(name)), settings, trained=96)


def with_hooks(r: TrainedRun, hooks: list[str]) -> TrainedRun:
    """Return the run with its hooks replaced."""
    changed = replace(r.settings.experiment, hooks=tuple(hooks))
    return replace(r, settings=replace(r.settings, experiment=changed))


L0_AT = {1.0: 10.0, 0.3: 18.0, 0.1: 32.0}  # by α
BASELINES = [run(f"b{i}", "baseline", l1) for i, l1 in enumerate(L0_AT)]
NSAES = [run(f"n{i}", "nsae", l1) for i, l1 in enumerate(L0_AT)]
RUNS = [*BASELINES, *NSAES]


def measured(
    runs: list[TrainedRun], measure: str, value: Callable[[TrainedRun, int], float], width: float
) -> Estimates:
    """Return `value` of each run at layer i as an estimate of `measure`.

    Its interval is about ±⅓ of the width. The runs of a variant share their replicates' deviations, as paired runs do.
    """
    return {
        Key(r.name, hook, False, "all", measure): Estimate((v := value(r, i)), v + width * SHOCK[r.variant], SHARES)
        for r in runs for i, hook in enumerate(HOOKS)
    }  # fmt: skip


def l0_of(r: TrainedRun, i: int, *, slope: float) -> float:
    """Return an L0 of about 10 (large α) to 32; the baseline's grows with the layer's norm to the power `slope`."""
    wobble = 1 + 0.02 * (-1) ** i
    return L0_AT[r.l1] * wobble * (MEAN_NORMS[HOOKS[i]] ** slope if r.variant == "baseline" else 1.0)


def held_out(slope: float = 0.6, suppression: float = 0.05, l2: float = 1.1) -> Estimates:
    """Return measures of RUNS: `suppression` is NSAE's excess over the baseline's, `l2` its multiple of it."""

    def nsae(r: TrainedRun, yes: float, no: float) -> float:
        return yes if r.variant == "nsae" else no

    return {
        **measured(RUNS, "l0", lambda r, i: l0_of(r, i, slope=slope), 0.0),
        **measured(RUNS, "l1", lambda r, i: l0_of(r, i, slope=slope) * nsae(r, 0.6, 0.1 * (1 + i)), 0.0),
        **measured(RUNS, "explained_variance", lambda r, i: {1.0: 0.5, 0.3: 0.65, 0.1: 0.8}[r.l1], 1e-4),
        **measured(RUNS, "suppression", lambda r, i: 0.9 + nsae(r, suppression, 0.0), 1e-3),
        **measured(RUNS, "gamma", lambda r, i: 0.95 + nsae(r, suppression, 0.0), 1e-3),
        **measured(RUNS, "l2", lambda r, i: nsae(r, l2, 1.0), 1e-3),
        **measured(RUNS, "cosine", lambda r, i: 0.9, 1e-3),
        **measured(RUNS, "l1_over_norm", lambda r, i: 2.0, 1e-3),
    }  # fmt: skip


def portrait(r: TrainedRun, hook: str, **changes: Any) -> DictionarySummary:
    """Return the summary of a run's dictionary at a hook, with `changes` to the usual values."""
    row = DictionaryRow(
        r.name, r.variant, hook, rows=1, live=1, dead=0, norm_median=1.0, norm_median_dead=None, norm_max=1.0,
        norm_over_input_norm_median=1.0, small_norm_share=0.0, pairs_within_02=1.0, pairs_above_09=0.0,
        nearest_cosine_median=0.0, near_twin_share=0.0, pillars=0, corrections=0, directions=0, overlaps={},
        pillars_that_are_directions=None,
    )  # fmt: skip
    return DictionarySummary(replace(row, **changes), [])


def verdicts(
    claims: Callable[[Measurements], Iterable[Claim]], measurements: Measurements, words: str, hook: str = "all"
) -> list[str]:
    """Return the verdicts of those of a module's claims at `hook` whose text has `words`."""
    return [claim.verdict for claim in claims(measurements) if words in claim.claim and claim.hook == hook]


def made_up(**changes: Any) -> Measurements:
    """Return the measurements of RUNS, with `changes` to their fields."""
    return replace(Measurements(RUNS, NORMS, held_out()), **changes)
