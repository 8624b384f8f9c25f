"""What was measured of some runs on one store, and which of their families the post's claims compare.

Not here: the claims (post/), measuring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from analyze.compare import pareto
from analyze.measure.dictionary_summary import Portrait
from analyze.measure.over_training import OverTraining
from analyze.runs.trained_run import FittedRun, hooks_of
from analyze.runs.training_curves import Curve
from analyze.statistics.estimates import Estimate, Estimates, Key
from data.store.stats import Subset


@dataclass(frozen=True)
class Evidence:
    """Everything that claims are decided on. What needs the language model is empty without it."""

    runs: Sequence[FittedRun]
    mean_norm: dict[str, float]  # ‖x‖₂ over the training split, by hook
    held_out: Estimates = field(default_factory=dict)
    patched: Estimates = field(default_factory=dict)
    over_training: OverTraining = field(default_factory=dict)
    training: Sequence[Curve] = ()
    dictionary: Sequence[Portrait] = ()

    @cached_property
    def families(self) -> dict[str, list[FittedRun]]:
        return pareto.families(self.runs)

    @cached_property
    def hooks(self) -> list[str]:
        return hooks_of(self.runs)

    def of_kind(self, kind: str) -> dict[str, list[FittedRun]]:
        """Families that are `baseline`, `control` (a baseline told of the norm), `nsae`, or `noiseless` NSAE."""
        return {name: runs for name, runs in self.families.items() if kind_of(runs[0]) == kind}

    def pairs(self) -> Iterator[tuple[str, list[FittedRun], list[FittedRun]]]:
        """What the post compares: (name, baseline's runs, NSAE's runs) for each two families."""
        for first, baseline in self.of_kind("baseline").items():
            for second, nsae in self.of_kind("nsae").items():
                yield f"{second} − {first}", baseline, nsae

    def value(self, run: FittedRun, hook: str, measure: str) -> Estimate | None:
        """On the held-out split, noise off, all positions."""
        return self.held_out.get(Key(run.name, hook, False, Subset.ALL, measure))


def kind_of(run: FittedRun) -> str:
    """See `Evidence.of_kind`; another architecture is called by its own name."""
    own = run.settings["run"]
    if run.variant == "baseline":
        return "baseline" if own["l1_power"] == 0 and own["input_scale"] == "none" else "control"
    return "noiseless" if run.variant == "nsae" and own["sigma"] == 0 else run.variant
