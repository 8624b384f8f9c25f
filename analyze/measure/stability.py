"""Whether two runs find the same features: the best one-to-one matching of their live directions, by cosine.

Not here: the matching (dictionary.py), which features are live (evaluate.py).
"""

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

ALIKE = (0.7, 0.9)  # cosines that count as the same feature, loosely and strictly


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
    """One line for each two runs at each hook (of `only` these, by name); noisy architectures' fires with noise off.

    `share_0.9` is the share of the smaller dictionary's live features whose match has a cosine of at least that.
    """
    by_hook: dict[str, list[FeatureActivity]] = {}
    for one in fires:
        if not one.noise:
            by_hook.setdefault(one.hook, []).append(one)
    pairs = [
        (hook, first, second)
        for hook, several in by_hook.items()
        for first, second in combinations(several, 2)
        if only is None or frozenset((first.run.name, second.run.name)) in only
    ]
    return [_line(*pair) for pair in Bar(pairs, desc="matching dictionaries", unit="pair", disable=not pairs)]


def _line(hook: str, first: FeatureActivity, second: FeatureActivity) -> Row:
    one, other = (fires.run.sae(hook).W_dec.detach()[fires.all.live] for fires in (first, second))
    cosines = matched_cosines(one, other)
    known = len(cosines) > 0
    return {
        "hook": hook, "first": first.run.name, "second": second.run.name, "live_first": len(one),
        "live_second": len(other), "matched": len(cosines),
        "cosine_mean": float(cosines.mean()) if known else None,
        "cosine_median": float(np.median(cosines)) if known else None,
        **{f"share_{alike}": float((cosines >= alike).mean()) if known else None for alike in ALIKE},
    }  # fmt: skip


def as_table(lines: Sequence[Row]) -> str:
    """Markdown: a row for each two runs and hook."""
    names = ("cosine_mean", "cosine_median", *(f"share_{alike}" for alike in ALIKE))
    header = ["hook", "runs", "trained on", "live", "mean cosine", "median", *(f"≥ {alike}" for alike in ALIKE)]
    rows = [
        [line["hook"], f"{line['first']}, {line['second']}",
         "; ".join(trained_on(line, side) for side in ("_first", "_second")),
         f"{line['live_first']}, {line['live_second']}", *(short(line[name]) for name in names)]
        for line in lines
    ]  # fmt: skip
    return markdown(header, rows)
