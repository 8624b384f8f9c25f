"""The measures of all sides at any L0, each matched once, however many comparisons use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from analyze.compare.equal_l0.matched import MatchedSide, match_hooks
from analyze.compare.equal_l0.sides import Side
from analyze.measure.firing import FeatureActivity, dead_shares
from analyze.statistics.estimates import Estimates
from train.measures import COMPARED, PATCHED, RANKED


class Matching:
    """The measures of sides at hooks, at any L0.

    samples: by measure, its estimates and those of L0 on the same rows; "l0" has those that decide which runs have an
        L0.
    """

    def __init__(self, samples: Mapping[str, Estimates], sides: Sequence[Side], hooks: Sequence[str]) -> None:
        self.samples, self.sides, self.hooks = samples, sides, hooks
        self._matched: dict[tuple[str, float], list[MatchedSide]] = {}

    def at(self, measure: str, l0: float) -> list[MatchedSide]:
        """Return a measure of each side at an L0, in the order of the sides."""
        if (measure, l0) not in self._matched:
            self._matched[measure, l0] = [
                match_hooks(self.samples[measure], self.samples["l0"], side, self.hooks, measure, l0)
                for side in self.sides
            ]
        return self._matched[measure, l0]


def samples_of(held_out: Estimates, patched: Estimates, fires: Sequence[FeatureActivity] = ()) -> dict[str, Estimates]:
    """Return the measured ones of L0, RANKED and COMPARED, by name, with their estimates; "l0" is on held-out rows.

    held_out, patched: estimates without and with the language model; `patched` may be empty. fires: the dead features.
    """
    samples = {"l0": held_out}
    for name in dict.fromkeys((*RANKED, *COMPARED)):
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
