"""The options without effect on any run of an experiment. They are refused, because their user expects one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data.errors import InputError
from train.architectures import ARCHITECTURES, architecture_of
from train.command.defaults import FOLLOWING
from train.command.options import Options
from train.command.per_variant import EVERY, applies
from train.experiment import Run
from train.presets import table_a2
from train.sae import ElementwiseSAE

OVERRIDDEN = "on runs whose variants have values of their own"


@dataclass(frozen=True)
class Idle:
    """An option that is given, other than by its default, but has no effect.

    variant: for which its values have none; EVERY: for all that it is for.
    """

    name: str
    reason: str
    variant: str = EVERY


def check_effects(options: Options, runs: Sequence[Run]) -> None:
    """Raise InputError if an option is given that has no effect on any run."""
    for idle in idle_options(options, runs):
        flag = f"--{idle.name.replace('_', '-')}"
        place = f"{flag} {idle.variant}=…" if idle.variant else flag
        raise InputError(f"{place}: has no effect {idle.reason}; leave it out")
    if options.init == "code":
        without = [run.variant for run in runs if not architecture_of(run.variant).has_code_start()]
        if without:
            raise InputError(f"--init code: the author's code has no {without[0]}; leave it out, or train it by itself")


def idle_options(options: Options, runs: Sequence[Run]) -> Iterator[Idle]:
    """Yield the options that have no effect on any run."""
    reasons: dict[str, str] = {}
    if not any(architecture_of(run.variant).uses_noise for run in runs):
        reasons["eval_noise"] = "without a run whose variant has noise (nsae)"
    if not any(run.l1_power for run in runs):
        reasons["norm"] = "without a run whose --l1-power is above 0 (baseline and nsae have this setting)"
    if not any(_weights_squared_error(run.variant) for run in runs):
        reasons["l2"] = "without a run whose variant is baseline or nsae, because the others' squared error is a sum"
    if options.resample_interval is None:
        resampling = ("resample_window", "resample_threshold", "resample_at_most", "resample_rows")
        reasons |= dict.fromkeys(resampling, "without --resample-interval")
    if not options.follow:
        reasons["mix_windows"] = "without --follow"
    for name, reason in reasons.items():
        if _is_given(name, getattr(options, name)):
            yield Idle(name, reason)
    for name, by_variant in options.per_run().items():
        if isinstance(by_variant, dict):
            for variant, values in by_variant.items():
                own_runs = [run for run in runs if applies(by_variant, variant, run.variant)]
                why = _idle_reason(name, values, own_runs)
                if why is not None:
                    yield Idle(name, why, variant)


def _weights_squared_error(variant: str) -> bool:
    """Return whether the loss of a variant may use --l2."""
    return variant not in ARCHITECTURES or issubclass(ARCHITECTURES[variant], ElementwiseSAE)


def _is_given(name: str, value: Any) -> bool:
    """Return whether the value of an option is not the one that it has if it is left out."""
    has_value = value is not None and value is not False  # 0 is given, too
    return has_value and (name in FOLLOWING or value != table_a2().get(name))


def _idle_reason(name: str, values: tuple[Any, ...], runs: Sequence[Run]) -> str | None:
    """Return why values of an option per run have no effect on the runs that they are for; None if they have one."""
    if not runs:
        return OVERRIDDEN
    if name == "l1_warmup":
        if not any(values):
            return None
        affected = [run for run in runs if run.l1]
        if not affected:
            return "without a run whose --l1 is above 0"
    else:
        affected = [run for run in runs if hasattr(run.settings, name)]
    reasons = [run.settings.without_effect().get(name) for run in affected]
    return reasons[0] if reasons and all(reasons) else None
