"""Compare the features of two runs by the best one-to-one matching of their live directions, by cosine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from analyze.measure.dictionary import matched_cosines
from analyze.measure.firing import FeatureActivity
from analyze.runs.trained_run import TrainedRun
from analyze.tables import Row, markdown, short, trained_on
from data.command.progress import Bar
from train.output.settings import RunSettings

ALIKE = (0.7, 0.9)  # cosines from which on two features count as the same, loosely and strictly


def pairs_differing_in_seed(runs: Sequence[TrainedRun]) -> set[frozenset[str]]:
    """Return the pairs of runs, by name, that differ only in their seeds."""
    return {
        frozenset((first.name, second.name))
        for first, second in combinations(runs, 2)
        if _without_seeds(first) == _without_seeds(second)
    }


def _without_seeds(run: TrainedRun) -> RunSettings:
    experiment, own = run.settings.experiment, run.settings.run
    return replace(run.settings, experiment=replace(experiment, data_seed=0, runs=(replace(own, name="", seed=0),)))


def stability(fires: Iterable[FeatureActivity], only: set[frozenset[str]] | None = None) -> list[Row]:
    """Return one line per hook and pair of runs; `only` restricts the pairs, by name. Noise is off.

    `share_0.9` is the share of the smaller dictionary's live features that have a match at cosine ≥ 0.9.
    """
    by_hook: dict[str, list[FeatureActivity]] = {}
    for activity in fires:
        if not activity.noise:
            by_hook.setdefault(activity.hook, []).append(activity)
    pairs = [
        (hook, first, second)
        for hook, at_hook in by_hook.items()
        for first, second in combinations(at_hook, 2)
        if only is None or frozenset((first.run.name, second.run.name)) in only
    ]
    return [_line(*pair) for pair in Bar(pairs, desc="matching dictionaries", unit="pair", disable=not pairs)]


def _line(hook: str, first: FeatureActivity, second: FeatureActivity) -> Row:
    W_first, W_second = (fires.run.sae(hook).W_dec.detach()[fires.all.live] for fires in (first, second))
    cosines = matched_cosines(W_first, W_second)
    known = len(cosines) > 0
    return {
        "hook": hook, "first": first.run.name, "second": second.run.name, "live_first": len(W_first),
        "live_second": len(W_second), "matched": len(cosines),
        "cosine_mean": float(cosines.mean()) if known else None,
        "cosine_median": float(np.median(cosines)) if known else None,
        **{f"share_{alike}": float((cosines >= alike).mean()) if known else None for alike in ALIKE},
    }  # fmt: skip


def as_table(lines: Sequence[Row]) -> str:
    """Return a Markdown table with a row per pair of runs and hook."""
    names = ("cosine_mean", "cosine_median", *(f"share_{alike}" for alike in ALIKE))
    header = ["hook", "runs", "trained on", "live", "mean cosine", "median", *(f"≥ {alike}" for alike in ALIKE)]
    rows = [
        [line["hook"], f"{line['first']}, {line['second']}",
         "; ".join(trained_on(line, side) for side in ("_first", "_second")),
         f"{line['live_first']}, {line['live_second']}", *(short(line[name]) for name in names)]
        for line in lines
    ]  # fmt: skip
    return markdown(header, rows)
