"""Make an experiment's runs from presets and from options with lists of values, which are combined to a grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from data.errors import InputError
from train.experiment import Run
from train.options import PER_RUN
from train.presets import presets
from train.sae import ARCHITECTURES

POST = ("baseline_1", "baseline_2", "normalized_1", "normalized_2")
SHORT = {"input_scale": "input"}  # options that are shorter in a run's name
SMALLEST = 1e-37  # smaller numbers are 0 in float32, or lose digits


def preset_runs(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the values of each preset, by its name; `post` stands for the four of Table A1. Raises InputError."""
    table = presets()
    chosen: dict[str, dict[str, Any]] = {}
    for name in names:
        for preset in POST if name == "post" else (name,):
            if preset not in POST:
                raise InputError(f"--preset {name}: there is no such preset; give {', '.join(POST)} or post")
            if preset in chosen:
                raise InputError(f"--preset {','.join(names)}: names {preset} twice; name each once")
            chosen[preset] = table[preset]
    return chosen


def first_preset(variant: str) -> dict[str, Any]:
    """Return the preset whose values a variant has by default: the first of Table A1 with that variant."""
    table = presets()
    return next((table[name] for name in POST if table[name]["variant"] == variant), table[POST[0]])


def make_runs(named: Sequence[str], given: Mapping[str, Sequence[Any]]) -> tuple[Run, ...]:
    """Return a run for each combination of a preset or variant with the values of the other options.

    `named`: names of presets. `given`: the values of each option of PER_RUN that is given. Raises InputError if a value
    is impossible, or both a preset and a variant are given.
    """
    starts: list[tuple[str, dict[str, Any]]] = list(preset_runs(named).items())
    if not starts:
        starts = [(variant, {"variant": variant}) for variant in given.get("variant", ())]
        if not starts:
            raise InputError("--variant: give one or more of " + ", ".join(ARCHITECTURES) + ", or a --preset")
    elif "variant" in given:
        raise InputError("--variant: a --preset already has a variant; give only one of the two")
    others = [name for name in PER_RUN if name != "variant" and name in given]
    runs = []
    for label, fixed in starts:
        architecture = ARCHITECTURES.get(fixed["variant"])
        own = [name for name in others if name != "sigma" or architecture is None or architecture.uses_noise]
        varying = [name for name in own if len(given[name]) > 1]
        for values in product(*(given[name] for name in own)):
            chosen = dict(zip(own, values, strict=True))
            parts = [f"{SHORT.get(name, name)}={_short(chosen[name])}" for name in varying]
            runs.append(_make_run("_".join([label, *parts]), {**fixed, **chosen}))
    twice = next((run for run in runs if runs.count(run) > 1), None)
    if twice:
        raise InputError(f"the options make the run {twice.name} twice; give each value once")
    return tuple(runs)


def _short(value: Any) -> str:
    """Return a value as a run's name has it: a number with the fewest digits that identify it."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _make_run(name: str, values: Mapping[str, Any]) -> Run:
    variant = values["variant"]
    if variant not in ARCHITECTURES:
        raise InputError(f"--variant {variant}: there is no such variant; give {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[variant]
    defaults = {
        "seed": 0, "input_scale": "none", "l1_power": architecture.l1_power, **first_preset(variant),
    }  # fmt: skip
    complete = {**defaults, **values}
    sigma = float(complete.get("sigma", 0.0)) if architecture.uses_noise else 0.0
    run = Run(
        name, variant, float(complete["l1"]), float(complete["lr"]), sigma, int(complete["seed"]),
        int(complete["l1_power"]), complete["input_scale"],
    )  # fmt: skip
    for option, value in (("--l1", run.l1), ("--lr", run.lr)):
        if not SMALLEST <= value < math.inf:
            raise InputError(f"{option} {value:g}: give a number greater than 0, at least {SMALLEST:g}")
    if not 0 <= run.sigma < math.inf:
        raise InputError(f"--sigma {run.sigma:g}: the noise's standard deviation must be 0 or more")
    return run
