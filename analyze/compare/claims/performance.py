"""Claims 4 and 5: what the language model makes of reconstructions, and how far they are from the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from analyze.compare.claims.rule import Claim, Subject, by_layer, decided, named
from analyze.compare.evidence import Evidence
from analyze.compare.pareto import curves, places
from analyze.measure.over_training import unsteadiness
from analyze.measure.patching import NEEDED
from analyze.runs.trained_run import FittedRun
from analyze.runs.training_curves import rows_to_near_end
from analyze.statistics import bootstrap
from analyze.statistics.estimates import Estimate, Estimates, Key, difference, excess, log_ratio, mean_of
from analyze.tables import short
from data.store.stats import Subset

MARGIN = 0.01  # of the score
NO_MODEL = "not measured: it needs the language model"
Runs = list[FittedRun]


def score(evidence: Evidence, name: str, baseline: Runs, nsae: Runs) -> Iterator[Claim]:
    claim, statistic = "the reconstruction score is no different at the same L0", "difference of the score at equal L0"
    by_hook = at_equal_l0(evidence.patched, evidence, baseline, nsae, "score", difference)
    parts, runs = list(by_hook.values()), [*baseline, *nsae]
    each = [
        decided(
            Subject(4, claim, name, runs, hook), statistic, estimate, MARGIN, none=True,
            note=_says_little(evidence, hook, baseline),
        )
        for hook, estimate in by_hook.items()
    ]  # fmt: skip
    known = "; ".join(filter(None, (by_layer(each), _overlap(evidence, by_hook))))
    yield decided(
        Subject(4, claim, name, runs), f"mean over layers of the {statistic}", mean_of(parts), MARGIN, none=True,
        parts=parts, note=known if evidence.patched else NO_MODEL,
    )  # fmt: skip
    yield from each


def _says_little(evidence: Evidence, hook: str, runs: Runs) -> str:
    """A flag where the model hardly needs the layer: the score's denominator is then near 0."""
    name = next(run.name for run in runs if hook in run.hooks)
    found = evidence.patched[Key(name, hook, False, Subset.ALL, "nats_lost_zero")]
    return (
        "" if found.interval[0] > NEEDED else f"zeroing the layer costs {short(found.value)} nats: a score says little"
    )


def at_equal_l0(
    estimates: Estimates, evidence: Evidence, baseline: Runs, nsae: Runs, measure: str,
    compare: Callable[[Estimate, Estimate], Estimate],
) -> dict[str, Estimate]:  # fmt: skip
    """By hook, NSAE's measure compared with the baseline's at the same L0: the mean over the places in their overlap.

    Hooks where their ranges of L0 do not overlap are left out.
    """
    found = {}
    for hook in evidence.hooks:
        here = {key: value for key, value in estimates.items() if key.hook == hook and not key.noise}
        one, other = (next(iter(curves(here, runs)), None) for runs in (baseline, nsae))
        if one is not None and other is not None:
            several = [
                compare(*(curve.at(l0, curve.points(here, measure)) for curve in (other, one)))
                for l0 in places(one, other)
            ]
            mean = mean_of(several)
            if mean is not None:
                found[hook] = mean
    return found


def _overlap(evidence: Evidence, by_hook: dict[str, Estimate]) -> str:
    missing = [hook for hook in evidence.hooks if hook not in by_hook]
    return f"no overlap in L0: {named(missing)}" if missing else ""


def steadiness(evidence: Evidence, name: str, baseline: Runs, nsae: Runs) -> Iterator[Claim]:
    one, other = (
        mean_of([
            unsteadiness(points) for key, points in evidence.over_training.items()
            if key.measure == "score" and not key.noise and key.run in {run.name for run in runs} and len(points) > 3
        ])
        for runs in (baseline, nsae)
    )  # fmt: skip
    found = None if one is None or other is None else difference(one, other)
    statistic = "standard deviation of the score over the later snapshots, the baseline's less NSAE's"
    note = "" if evidence.over_training else f"{NO_MODEL}, on snapshots"
    subject = Subject(4, "NSAE's score is steadier in training", name, [*baseline, *nsae])
    yield decided(subject, statistic, found, 0, note=note)


def error(evidence: Evidence, name: str, baseline: Runs, nsae: Runs) -> Iterator[Claim]:
    by_hook, runs = at_equal_l0(evidence.held_out, evidence, baseline, nsae, "l2", log_ratio), [*baseline, *nsae]
    yield from _l2(
        "NSAE's L2 is higher at the same L0", "L2 over the baseline's at equal L0, less 1", name, runs, by_hook,
        _overlap(evidence, by_hook),
    )  # fmt: skip
    ends = {hook: log_ratio(*pair) for hook in evidence.hooks if (pair := _last_l2(evidence, hook, nsae, baseline))}
    yield from _l2(
        "NSAE ends with the higher L2, whatever the L0", "last L2 over the baseline's, less 1", name, runs, ends,
        "depends on the α that were run",
    )  # fmt: skip

    rows = {
        (curve.run, curve.hook): rows_to_near_end(curve)
        for curve in evidence.training
        if curve.split == "heldout" and curve.measure == "l2" and not curve.noise
    }
    shares = []
    for hook in evidence.hooks:
        one, other = ([n for run in runs if (n := rows.get((run.name, hook))) is not None] for runs in (baseline, nsae))
        if one and other:
            shares.append(float(np.mean(np.log(other)) - np.mean(np.log(one))))
    statistic = "log of the rows to come within 10 % of the last L2, over the baseline's; interval over layers"
    yield decided(Subject(5, "NSAE's L2 converges more slowly", name, runs), statistic, _over_layers(shares), 0)


def _l2(claim: str, statistic: str, name: str, runs: Runs, logs: dict[str, Estimate], note: str) -> Iterator[Claim]:
    """That a ratio, of which there is the logarithm by hook, is above 1: in the geometric mean, and by layer."""
    mean = mean_of(list(logs.values()))
    each = [decided(Subject(5, claim, name, runs, hook), statistic, excess(log), 0) for hook, log in logs.items()]
    yield decided(
        Subject(5, claim, name, runs), f"geometric mean over layers of {statistic}", mean and excess(mean), 0,
        note="; ".join(filter(None, (by_layer(each), note))),
    )  # fmt: skip
    yield from each


def _last_l2(evidence: Evidence, hook: str, *families: Runs) -> tuple[Estimate, Estimate] | None:
    """Of each of two families the mean over its runs; None where one has no run with the hook."""
    means = [
        mean_of([found for run in runs if (found := evidence.value(run, hook, "l2")) is not None]) for runs in families
    ]
    return None if means[0] is None or means[1] is None else (means[0], means[1])


def _over_layers(values: Sequence[float]) -> Estimate | None:
    """The mean of a number a layer, with layers resampled."""
    if not values:
        return None
    several = np.array(values)
    return Estimate(float(several.mean()), bootstrap.weights(len(several)) @ several / len(several), len(several))
