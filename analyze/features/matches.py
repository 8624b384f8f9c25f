"""The same feature in runs that differ only in their seeds, by the best matching of decoder directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch

from analyze.measure.dictionary import match_directions
from analyze.measure.firing import FeatureActivity
from analyze.measure.stability import pairs_of_replicas
from data.command.progress import Bar


@dataclass(frozen=True)
class Match:
    """The feature of another run that a feature is matched with, and the cosine of the two decoder directions."""

    run: str
    number: int
    cosine: float


Matches = dict[int, list[Match]]  # by the feature's number


def match_replicas(saes: Sequence[FeatureActivity]) -> list[Matches]:
    """Return the matches of the live features of each SAE, with all replicas of its run at its hook, noise off."""
    replicas = pairs_of_replicas(list({activity.run.name: activity.run for activity in saes}.values()))
    matches: list[Matches] = [{} for _ in saes]
    pairs = [
        (i, j) for i, j in combinations(range(len(saes)), 2)
        if saes[i].hook == saes[j].hook and frozenset((saes[i].run.name, saes[j].run.name)) in replicas
    ]  # fmt: skip
    for i, j in Bar(pairs, desc="matching dictionaries", unit="pair", disable=not pairs):
        first, second = saes[i], saes[j]
        numbers = [torch.nonzero(fires.all.live)[:, 0] for fires in (first, second)]
        directions = (
            fires.run.sae(fires.hook).W_dec.detach()[live] for fires, live in zip((first, second), numbers, strict=True)
        )
        in_first, in_second, cosines = match_directions(*directions)
        matched = zip(numbers[0][in_first].tolist(), numbers[1][in_second].tolist(), cosines, strict=True)
        for a, b, cosine in matched:
            matches[i].setdefault(a, []).append(Match(second.run.name, b, float(cosine)))
            matches[j].setdefault(b, []).append(Match(first.run.name, a, float(cosine)))
    return matches
