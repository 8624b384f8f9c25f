"""What an experiment is: the runs, and everything else that decides their numbers. Facts only; no I/O.

An experiment is a set of runs that are fed with the same batches. A run is one SAE a layer, with its own architecture,
coefficient, learning rate and seed. Values given in the plural (`--l1 1e-5,4e-5`) make the product of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal

from data.errors import InputError
from train.loss import Objective
from train.optim.schedule import Resampling, Schedule
from train.presets import presets
from train.sae import ARCHITECTURES

InputScale = Literal["none", "mean-norm"]
Init = Literal["scaled", "code"]
Precision = Literal["float32", "bfloat16"]

POST = ("baseline_1", "baseline_2", "normalized_1", "normalized_2")
SHORT = {"input_scale": "input"}  # names of values in a run's name, where they differ from the option's
SMALLEST = 1e-37  # smaller numbers are 0 in float32, or lose digits there
PER_RUN = ("variant", "l1", "lr", "sigma", "seed", "l1_power", "input_scale")


@dataclass(frozen=True)
class Run:
    """One SAE a layer. Lists of these are what the command line's plural values make."""

    name: str
    variant: str
    l1: float  # α
    lr: float
    sigma: float  # of the noise; 0 for architectures without
    seed: int  # of the start, the noise and the resampling
    l1_power: int  # β = α · norm ** l1_power
    input_scale: InputScale


@dataclass(frozen=True)
class Reports:
    """When an experiment is looked at, in rows (activations) and counts."""

    log_every: int
    validate_every: int
    validate_rows: int
    window: int  # rows over which firing is counted, for dead features
    snapshots: int


@dataclass(frozen=True)
class Experiment:
    """Everything that decides the numbers: a resumed experiment must have the same."""

    store: str  # its fingerprint
    hooks: tuple[str, ...]
    runs: tuple[Run, ...]
    expansion: float
    batch_size: int
    decoder_bias: bool
    init: Init
    clip: float | None
    precision: Precision
    data_seed: int  # of the stream
    objective: Objective
    schedule: Schedule
    resampling: Resampling
    reports: Reports
    left_out: tuple[int, ...] = ()  # the store's shards that were damaged as the experiment began

    @property
    def n_steps(self) -> int:
        return self.schedule.total // self.batch_size

    @property
    def restarts(self) -> bool:
        """Whether dead features are ever restarted: in some step but the last, which trains nothing afterwards."""
        return self.resampling.at_most > 0 and -(-self.resampling.interval // self.batch_size) < self.n_steps

    def restarts_after(self, step: int) -> bool:
        """Whether dead features are restarted after so many steps."""
        seen, now = (step - 1) * self.batch_size, step * self.batch_size
        return step < self.n_steps and self.resampling.due(seen, now)

    def validation_steps(self) -> list[int]:
        """After how many steps the held-out split is measured: every `validate_every` rows, and at the end."""
        every, size = self.reports.validate_every, self.batch_size
        if every <= size:
            return list(range(1, self.n_steps + 1))
        crossings = range(every, self.n_steps * size + 1, every)
        return sorted({-(-row // size) for row in crossings} | {self.n_steps})

    def snapshot_steps(self) -> set[int]:
        """Those of the validations at which weights are kept: about `snapshots`, spaced logarithmically."""
        steps, n = self.validation_steps(), self.reports.snapshots
        if not n:
            return set()
        ratio = len(steps) ** (1 / max(n - 1, 1))
        return {steps[min(round(ratio**k), len(steps)) - 1] for k in range(n)} | {steps[-1]}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def preset_runs(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Name → what the preset fixes of a run; `post` stands for the four of Table A1. Raises InputError."""
    known = presets()
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        for one in POST if name == "post" else (name,):
            if one not in POST:
                raise InputError(f"--preset {name}: there is none of this name; give {', '.join(POST)} or post")
            if one in found:
                raise InputError(f"--preset {','.join(names)}: names {one} twice; name each once")
            found[one] = known[one]
    return found


def first_preset(variant: str) -> dict[str, Any]:
    """The preset that fills in what a run of a variant leaves open: the first of Table A1 with that variant."""
    table = presets()
    return next((table[name] for name in POST if table[name]["variant"] == variant), table[POST[0]])


def make_runs(named: Sequence[str], given: Mapping[str, Sequence[Any]]) -> tuple[Run, ...]:
    """The product of the presets named and the values given (option of `PER_RUN` → values; absent: not given).

    Raises InputError where a value cannot be, or a preset and a variant contradict each other.
    """
    starts: list[tuple[str, dict[str, Any]]] = list(preset_runs(named).items())
    if not starts:
        starts = [(variant, {"variant": variant}) for variant in given.get("variant", ())]
        if not starts:
            raise InputError("--variant: give one or more of " + ", ".join(ARCHITECTURES) + ", or a --preset")
    elif "variant" in given:
        raise InputError("--variant: a --preset has its variant already; give one of the two")
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
        raise InputError(f"the run {twice.name} is asked for twice; give each value once")
    return tuple(runs)


def _short(value: Any) -> str:
    """A value in a run's name: of a number the fewest digits that tell it from every other."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _make_run(name: str, values: Mapping[str, Any]) -> Run:
    variant = values["variant"]
    if variant not in ARCHITECTURES:
        raise InputError(f"--variant {variant}: there is none of this name; give {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[variant]
    defaults = {
        "seed": 0, "input_scale": "none", "l1_power": architecture.l1_power, **first_preset(variant),
    }  # fmt: skip
    whole = {**defaults, **values}
    sigma = float(whole.get("sigma", 0.0)) if architecture.uses_noise else 0.0
    run = Run(
        name, variant, float(whole["l1"]), float(whole["lr"]), sigma, int(whole["seed"]), int(whole["l1_power"]),
        whole["input_scale"],
    )  # fmt: skip
    for option, value in (("--l1", run.l1), ("--lr", run.lr)):
        if not SMALLEST <= value < math.inf:
            raise InputError(f"{option} {value:g}: give a number greater than 0, at least {SMALLEST:g}")
    if not 0 <= run.sigma < math.inf:
        raise InputError(f"--sigma {run.sigma:g}: the noise's standard deviation must be 0 or more")
    return run


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two experiments' JSON, in words."""
    found = []
    for key in sorted({*before, *now}):
        name, a, b = f"{prefix}{key}", before.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{name}.")
        elif key == "runs" and isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
            found += differences({r["name"]: r for r in a}, {r["name"]: r for r in b}, "")
        elif a != b:
            found.append(f"{name} (there: {_show(a)}, now: {_show(b)})")
    return found


def _show(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, dict):
        return "a run"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
