"""Families: runs that differ only in how sparse they are asked to be, and the seeds. A family is one curve over L0.

A family's kind is what the post's claims compare:

    baseline              a baseline whose α is the same in all layers
    norm-scaled baseline  a baseline whose α is scaled by the mean norm of the layer, or whose inputs are normalised
    nsae                  an NSAE with noise
    noiseless             an NSAE with σ = 0

A family of any other architecture has the architecture's name as its kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from analyze.runs.configurations import Configuration
from analyze.runs.same_rows import stored_type
from analyze.runs.trained_run import TrainedRun

Runs = Sequence[TrainedRun]
Member = TypeVar("Member", Configuration, TrainedRun)

OF_ONE_RUN = ("name", "variant", "l1", "k", "target_l0", "seed")  # in which runs of a family may differ


def families(members: Sequence[Member]) -> dict[str, list[Member]]:
    """Return runs, or configurations, by family, in the order given.

    A family's name is its variant, followed by the settings in which it differs from other families of that variant,
    and by the format of imported SAEs.
    """
    settings = [_shared_settings(member) for member in members]
    by_family: dict[str, list[Member]] = {}
    for member, member_settings in zip(members, settings, strict=True):
        same_variant = [
            other
            for settings_of_other, other in zip(members, settings, strict=True)
            if settings_of_other.variant == member.variant
        ]
        distinct: list[str] = [
            f"{key} {value}"
            for key, value in member_settings.items()
            if any(key in other and other[key] != value for other in same_variant)
        ]
        imported = member.settings.imported_from
        origin: list[str] = [f"imported from {imported}"] if imported else []
        by_family.setdefault(", ".join([member.variant, *distinct, *origin]), []).append(member)
    return by_family


def _shared_settings(member: Configuration | TrainedRun) -> dict[str, Any]:
    """Return the settings that all members of a family share; families differ in at least one of them.

    Of an imported SAE only the width and the scale of its inputs are known.
    """
    experiment, run = member.settings.experiment, member.settings.run
    if member.settings.imported_from:
        return {"expansion": experiment.expansion, "input_scale": run.input_scale}
    run_settings = {key: value for key, value in run.to_json().items() if key not in OF_ONE_RUN}
    shared = {key: getattr(experiment, key) for key in ("init", "decoder_bias", "expansion", "batch_size")}
    optimisation = {"clip": experiment.clip_of(run), **vars(experiment.schedule_of(run))}
    stored = {"dtype": stored_type(member.settings.provenance)}
    return run_settings | shared | vars(experiment.objective) | optimisation | stored


def kind_of(run: TrainedRun) -> str:
    """Return the kind of the run's family."""
    settings = run.settings.run
    if run.variant == "baseline":
        same_alpha = settings.l1_power == 0 and settings.input_scale == settings.input_mean == "none"
        return "baseline" if same_alpha else "norm-scaled baseline"
    return "noiseless" if run.variant == "nsae" and settings.sigma == 0 else run.variant


@dataclass(frozen=True)
class FamilyPair:
    """A baseline family and an NSAE family, which the post's claims compare."""

    name: str
    baseline: Runs
    nsae: Runs

    @property
    def runs(self) -> list[TrainedRun]:
        return [*self.baseline, *self.nsae]


def family_pairs(by_family: Mapping[str, Runs]) -> Iterator[FamilyPair]:
    """Yield each baseline family with each NSAE family."""
    for baseline_name, baseline in by_family.items():
        for nsae_name, nsae in by_family.items():
            if kind_of(baseline[0]) == "baseline" and kind_of(nsae[0]) == "nsae":
                yield FamilyPair(f"{nsae_name} − {baseline_name}", baseline, nsae)
