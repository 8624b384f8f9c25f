"""Build the summary of a comparison from the measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analyze.compare.equal_l0.matching import Matching
from analyze.compare.equal_l0.shared_l0 import l0_values as l0_of_configurations
from analyze.compare.summary.at_l0 import ComparisonAtL0, compare_at_l0
from analyze.compare.summary.lines import line_of_configuration, lines_at
from analyze.compare.summary.main_l0 import main_l0
from analyze.compare.summary.ranking import Ranking, rank
from analyze.compare.summary.sentences import sentences
from analyze.compare.summary.summary import Summary, SummaryLine
from analyze.measure.firing import FeatureActivity
from analyze.runs.settled import Drift, DriftsBySae, drifts_by_sae
from train.measures import RANKED

Ranked = tuple[ComparisonAtL0, dict[str, Ranking | None]]


def summarize(
    matching: Matching, fires: Sequence[FeatureActivity], l0_values: Sequence[float], drifts: Sequence[Drift], unit: str
) -> Summary:
    """Return the ranking of sides at each L0, as a table and in sentences.

    Without values of L0, sides are compared at the L0 that most SAEs of two sides share, if there is one.

    fires: the dead features. unit: what the estimates' groups are, "document" or "context".
    """
    sides, hooks, by_sae = matching.sides, matching.hooks, drifts_by_sae(drifts)
    measures = [name for name in RANKED if name in matching.samples]
    samples = {name: matching.samples[name] for name in ("l0", *measures)}
    rows = next((activity.all.rows for activity in fires), None) if "dead" in samples else None
    chosen = sorted(l0_values) or _shared_l0(matching)
    compared = [_ranked(compare_at_l0(matching, measures, l0, by_sae), measures, by_sae) for l0 in chosen]
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


def _ranked(comparison: ComparisonAtL0, measures: Sequence[str], drifts: DriftsBySae) -> Ranked:
    """Return a comparison with its rankings by measure."""
    return comparison, {measure: rank(*comparison.sides_at(measure), drifts) for measure in measures}


def _marks(comparison: ComparisonAtL0, rankings: Mapping[str, Ranking | None]) -> dict[str, dict[str, str]]:
    """Return the marks of the ranked sides, by measure and side."""
    return {
        measure: {name: ranking.mark(name) for name in comparison.ranked} if ranking else {}
        for measure, ranking in rankings.items()
    }


def _shared_l0(matching: Matching) -> list[float]:
    """Return the L0, to two digits, at which most SAEs can be compared with another side's; none if none can."""
    estimates = matching.samples["l0"]
    known = {
        l0 for side in matching.sides for hook in matching.hooks for l0 in l0_of_configurations(estimates, side, hook)
    }
    candidates = sorted({float(f"{l0:.2g}") for l0 in known})
    counts = {l0: _n_compared(matching, l0) for l0 in candidates}
    return [main_l0(counts)] if any(counts.values()) else []


def _n_compared(matching: Matching, l0: float) -> int:
    """Return how many SAEs have an L0 at hooks where another side has it too."""
    measured = matching.at("l0", l0)
    by_hook = [sum(hook in side.by_hook for side in measured) for hook in matching.hooks]
    return sum(count for count in by_hook if count > 1)
