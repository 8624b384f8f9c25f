"""Make an experiment's runs from presets and from options with lists of values, which are combined to a grid."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from itertools import product
from typing import Any, get_type_hints

from data.command.option_types import suggestion
from data.errors import InputError
from train.command import targets
from train.command.options import PER_RUN, has_meaning, options_of_variant
from train.command.per_variant import EVERY, Values, values_for
from train.experiment import Run
from train.optim.schedule import SHARED
from train.plugins import identity
from train.presets import chosen_presets
from train.variants import SETTINGS, UNKNOWN, Sizes, settings_of

SHORT = {"input_scale": "input", "input_mean": "mean"}  # options that are shorter in a run's name
UNSAFE = r"[^A-Za-z0-9_.,=+-]"  # characters that no run's name has
LONGEST_NAME = 200
SMALLEST = 1e-37  # smaller numbers are 0 in float32, or lose digits


def make_runs(
    named: Sequence[str], options: Mapping[str, Values | tuple[Any, ...]], sizes: Sizes = UNKNOWN
) -> tuple[Run, ...]:
    """Return a run for each combination of a preset or variant with the values of the other options.

    named: names of presets. options: the values of `variant` and of each option of PER_RUN that is given, for all
    variants or by variant. sizes: what the runs must fit; without the number of features, learning rates that depend
    on it are NaN. Raises InputError if a value is impossible or means nothing to any run, or both a preset and a
    variant are given.
    """
    variants = tuple(map(identity, options.get("variant", ())))
    by_option = {
        name: values if isinstance(values, dict) else {EVERY: values}
        for name, values in options.items()
        if name != "variant"
    }
    starts: list[tuple[str, str, Mapping[str, tuple[Any, ...]]]] = [
        (preset.name, preset.variant, preset.scaled(sizes.activations)) for preset in chosen_presets(named)
    ]
    if not starts:
        starts = [(_label(variant), variant, {}) for variant in variants]
        if not starts:
            raise InputError("--variant: give one or more of " + ", ".join(SETTINGS) + ", or a --preset")
    elif variants:
        raise InputError(
            "--variant: a --preset already has a variant; give only one of the two, or fewer presets, such as "
            f"--preset {chosen_presets(named)[0].name}"
        )
    same = next((variant for variant in variants if variants.count(variant) > 1), None)
    if same:
        raise InputError(f"--variant: names {same} twice, in different folders; rename one of the files")
    by_option = targets.by_variant(by_option, [variant for _, variant, _ in starts])
    _check_meaning(by_option, [variant for _, variant, _ in starts])
    runs = []
    for label, variant, preset in starts:
        ordered = dict.fromkeys((*PER_RUN, *by_option))  # the last: settings of other packages
        run_options = {
            name: values for name in ordered if (values := _values_of(by_option, name, variant) or preset.get(name))
        }
        run_options = targets.settled(run_options, preset, variant)
        varying = [name for name, values in run_options.items() if len(values) > 1]
        for values in product(*run_options.values()):
            chosen = dict(zip(run_options, values, strict=True))
            parts = [f"{SHORT.get(name, name)}={_short(chosen[name])}" for name in varying]
            runs.append(_make_run("_".join([label, *parts]), variant, chosen, sizes))
    names = [run.name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"the options make two runs of the name {twice}; give each value and each class's name once")
    longest = max(names, key=len)
    if len(longest) > LONGEST_NAME:
        raise InputError(f"the run's name {longest[:60]}… is too long for a folder; give fewer values at once")
    return tuple(runs)


def _label(variant: str) -> str:
    """Return a variant as a run's name has it: of MODULE:CLASS the class."""
    return re.sub(UNSAFE, "-", variant.rpartition(":")[2])


def _values_of(by_option: Mapping[str, Values], name: str, variant: str) -> tuple[Any, ...] | None:
    """Return the values of an option for a variant; None if they mean nothing to it, or are not given."""
    return values_for(by_option.get(name), variant) if name in options_of_variant(variant) else None


def _check_meaning(by_option: Mapping[str, Values], variants: Sequence[str]) -> None:
    """Raise InputError if an option names a variant that no run has, or means nothing to the variants it is for."""
    for name, values in by_option.items():
        flag = f"--{name.replace('_', '-')}"
        for variant, of_variant in values.items():
            if variant != EVERY and variant not in variants:
                hint = suggestion(variant, variants, "name it in --variant, or leave it out")
                raise InputError(f"{flag} {variant[:80]}=…: no run has this variant; {hint}")
            if any(has_meaning(name, target, of_variant) for target in ([variant] if variant else variants)):
                continue
            known = dict.fromkeys([*SETTINGS, *variants])
            owners = ", ".join(owner for owner in known if has_meaning(name, owner, ())) or "another package's"
            if variant:
                raise InputError(f"{flag} {variant}=…: {variant} has no such setting; it belongs to {owners}")
            raise InputError(f"{flag}: has no effect without a run whose variant has it ({owners}); leave it out")


def _short(value: Any) -> str:
    """Return a value as a run's name has it: a number with the fewest digits that identify it."""
    if isinstance(value, str):
        return re.sub(UNSAFE, "-", value)
    if not isinstance(value, float):
        return str(value).lower()
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _make_run(name: str, variant: str, values: Mapping[str, Any], sizes: Sizes) -> Run:
    """Return a run from the values that it has; the rest are its variant's defaults. Raises InputError."""
    kind = settings_of(variant)
    setting_names = {field.name for field in fields(kind)}
    chosen = {name: _plain(kind, name, value) for name, value in values.items() if name in setting_names}
    settings = kind(**chosen).completed(sizes)
    settings.check(sizes)
    lr = float(values["lr"]) if "lr" in values else kind.default_lr(sizes.d_sae)
    run = Run(
        name, variant, lr, int(values.get("seed", 0)), values.get("input_scale", "none"), settings,
        input_mean=values.get("input_mean", "none"), **{name: values[name] for name in SHARED if name in values},
    )  # fmt: skip
    if not (math.isnan(run.lr) or SMALLEST <= run.lr < math.inf):
        raise InputError(f"--lr {run.lr:g}: give a number greater than 0, at least {SMALLEST:g}")
    for name, value in asdict(settings).items():
        size = value if variant in SETTINGS or not isinstance(value, float) else abs(value)
        if isinstance(size, float) and not (size == 0 or SMALLEST <= size < math.inf):
            raise InputError(f"--{name.replace('_', '-')} {value:g}: give 0, or a number of at least {SMALLEST:g}")
    return run


def _plain(kind: type[Any], name: str, value: Any) -> Any:
    """Return a value, such as a preset's 1 for 1.0, in the type that its setting has."""
    return float(value) if get_type_hints(kind)[name] is float else value
