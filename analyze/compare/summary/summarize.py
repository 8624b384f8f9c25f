"""Build the summary of a comparison from the measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from analyze.compare.equal_l0.shared_l0 import l0_values as l0_of_configurations
from analyze.compare.equal_l0.sides import Side
from analyze.compare.summary.at_l0 import ComparisonAtL0, compare_at_l0
from analyze.compare.summary.dead import marks_of_dead
from analyze.compare.summary.lines import line_of_configuration, lines_at
from analyze.compare.summary.ranking import Ranking, rank
from analyze.compare.summary.sentences import sentences
from analyze.compare.summary.summary import Summary, SummaryLine
from analyze.measure.firing import FeatureActivity, dead_shares
from analyze.runs.settled import Drift, DriftsBySae, drifts_by_sae
from analyze.statistics.estimates import Estimates
from train.measures import PATCHED, RANKED

Ranked = tuple[ComparisonAtL0, dict[str, Ranking | None]]


def summarize(
    held_out: Estimates, patched: Estimates, fires: Sequence[FeatureActivity], sides: Sequence[Side],
    hooks: Sequence[str], l0_values: Sequence[float], drifts: Sequence[Drift], unit: str,
) -> Summary:  # fmt: skip
    """Return the ranking of sides at each L0, as a table and in sentences.

    Without values of L0, sides are compared at the L0 that most SAEs of two sides share, if there is one.

    held_out, patched: estimates without and with the language model; `patched` may be empty. fires: the dead features.
    unit: what the estimates' groups are, "document" or "context".
    """
    samples, by_sae = _samples(held_out, patched, fires), drifts_by_sae(drifts)
    measures = [name for name in RANKED if name in samples]
    rows = next((activity.all.rows for activity in fires), None) if "dead" in samples else None
    chosen = sorted(l0_values) or _shared_l0(held_out, sides, hooks)
    compared = [_ranked(compare_at_l0(samples, sides, hooks, l0, by_sae), measures, by_sae) for l0 in chosen]
    compared = [ranked for ranked in compared if any(side.by_hook for side in ranked[0].measured["l0"].values())]
    lines = list[SummaryLine]()
    for comparison, rankings in compared:
        lines += lines_at(comparison, _marks(comparison, rankings), rows)
        lines += [
            line_of_configuration(samples, side.name, configuration, hooks, rows, comparison.l0)
            for side in sides
            for configuration in side.configurations
            if not comparison.measured["l0"][side.name].by_hook and configuration.replicas[0].target_l0 == comparison.l0
        ]
    listed = {line.family for line in lines}
    lines += [
        line_of_configuration(samples, side.name, configuration, hooks, rows)
        for side in sides
        for configuration in side.configurations
        if side.name not in listed
    ]
    text = sentences(compared, sides, hooks, by_sae, unit, lines)
    return Summary(text, [comparison.l0 for comparison, _ in compared], measures, lines)


def _samples(held_out: Estimates, patched: Estimates, fires: Sequence[FeatureActivity]) -> dict[str, Estimates]:
    """Return by measure the estimates that have it, with L0 on the same rows; "l0" is that on held-out rows."""
    samples = {"l0": held_out}
    for name in RANKED:
        estimates = patched if name in PATCHED else held_out
        if any(key.measure == name for key in estimates):
            samples[name] = estimates
    if dead := _dead(held_out, fires):
        samples["dead"] = held_out | dead
    return samples


def _dead(held_out: Estimates, fires: Sequence[FeatureActivity]) -> Estimates:
    """Return the share of dead features of each SAE, as an estimate of the same documents as L0 that does not vary."""
    estimates = Estimates()
    for key, dead in dead_shares(fires).items():
        if (l0 := held_out.get(key._replace(measure="l0"))) is not None:
            estimates[key] = replace(dead, replicates=np.full(len(l0.shares), dead.value), shares=l0.shares)
    return estimates


def _ranked(comparison: ComparisonAtL0, measures: Sequence[str], drifts: DriftsBySae) -> Ranked:
    """Return a comparison with its rankings by measure; dead shares have none (dead.py)."""
    return comparison, {
        measure: None if measure == "dead" else rank(*comparison.sides_at(measure), drifts) for measure in measures
    }


def _marks(comparison: ComparisonAtL0, rankings: Mapping[str, Ranking | None]) -> dict[str, dict[str, str]]:
    """Return the marks of the ranked sides, by measure and side."""
    marks = {
        measure: {name: ranking.mark(name) for name in comparison.ranked} if ranking else {}
        for measure, ranking in rankings.items()
    }
    return marks | {"dead": marks_of_dead(*comparison.sides_at("dead"))} if "dead" in marks else marks


def _shared_l0(estimates: Estimates, sides: Sequence[Side], hooks: Sequence[str]) -> list[float]:
    """Return the L0, to two digits, at which most SAEs can be compared with another side's; none if none can."""
    known = {l0 for side in sides for hook in hooks for l0 in l0_of_configurations(estimates, side, hook)}
    candidates = sorted({float(f"{l0:.2g}") for l0 in known})
    counts = {l0: _n_compared({"l0": estimates}, sides, hooks, l0) for l0 in candidates}
    most = max(counts.values(), default=0)
    best = [l0 for l0 in candidates if counts[l0] == most]
    return [best[len(best) // 2]] if most else []


def _n_compared(samples: Mapping[str, Estimates], sides: Sequence[Side], hooks: Sequence[str], l0: float) -> int:
    """Return how many SAEs have an L0 at hooks where another side has it too."""
    measured = compare_at_l0(samples, sides, hooks, l0, {}).measured["l0"].values()
    by_hook = [sum(hook in side.by_hook for side in measured) for hook in hooks]
    return sum(count for count in by_hook if count > 1)
