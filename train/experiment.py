"""The definition of an experiment: its runs, and everything else that determines their results.

An experiment is a set of runs that are trained on the same batches. A run is one SAE per layer, with its own
architecture, coefficient, learning rate and seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from train.loss import Objective
from train.normalisation.scales import (
    InputForm,
    InputMean,
    InputScale,
    Normalisation,
    input_form,
    needs_centred_norm,
    normalisation,
)
from train.optim.schedule import LENGTHS, SHARED, Resampling, Schedule
from train.variants import ArchitectureSettings

if TYPE_CHECKING:
    from train.normalisation.statistics import InputStatistics

Init = Literal["scaled", "code"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Run:
    """The settings of one run.

    name: its name, and the name of its folder.
    variant: its architecture (train/architectures).
    lr: learning rate of Adam.
    seed: seed of the initialisation, the noise and the resampling.
    input_scale: what inputs are divided by (train/normalisation/scales.py).
    settings: the settings of its architecture (train/variants/).
    input_mean: what is subtracted from inputs before: "none", or the mean of the "store"'s training rows.
    lr_warmup, l1_warmup, lr_decay: its own schedule, in rows; None: the experiment's.
    clip: norm to which its gradients are clipped; 0: no clipping; None: the experiment's.
    """

    name: str
    variant: str
    lr: float
    seed: int
    input_scale: InputScale
    settings: ArchitectureSettings
    input_mean: InputMean = "none"
    lr_warmup: int | None = None
    l1_warmup: int | None = None
    lr_decay: int | None = None
    clip: float | None = None

    @property
    def input_form(self) -> InputForm:
        """The steps of the normalisation of its inputs."""
        return input_form(self.input_scale, self.input_mean)

    def needs_centred_norm(self, objective: Objective) -> bool:
        """Return whether its normalisation or its loss depends on the mean norm of centred rows."""
        exact = objective.norm == "store" and self.l1_power > 0
        return needs_centred_norm(self.input_scale, self.input_mean, exact_norm=exact)

    def normalisation(self, statistics: InputStatistics, d_model: int, objective: Objective) -> Normalisation:
        """Return the normalisation of one layer's inputs."""
        exact = self.needs_centred_norm(objective)
        return normalisation(self.input_scale, self.input_mean, statistics, d_model, exact=exact)

    @property
    def l1(self) -> float:
        """Its sparsity coefficient; 0 if its architecture has none."""
        return float(getattr(self.settings, "l1", 0.0))

    @property
    def l1_power(self) -> int:
        """The power p in β = α · normᵖ; 0 if its architecture has none."""
        return int(getattr(self.settings, "l1_power", 0))

    @property
    def sigma(self) -> float:
        """The noise's standard deviation; 0 if its architecture has no noise."""
        return float(getattr(self.settings, "sigma", 0.0))

    def to_json(self) -> dict[str, Any]:
        """Return its fields and settings, side by side, as run.json holds them; not those that the experiment gives."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "settings"}
        in_json = {name: value for name, value in values.items() if value is not None or name not in SHARED}
        return {**in_json, **asdict(self.settings)}


@dataclass(frozen=True)
class Reports:
    """The schedule of an experiment's measures.

    log_every: rows between two measures on a training batch.
    validate_every: rows between two measures on the held-out split.
    validate_rows: maximum number of held-out rows that are measured.
    window: rows over which firing is counted, for dead features.
    snapshots: number of validations at which the weights are saved.
    """

    log_every: int
    validate_every: int
    validate_rows: int
    window: int
    snapshots: int


@dataclass(frozen=True)
class Experiment:
    """Everything that determines an experiment's results. A resumed experiment must have the same.

    store: fingerprint of the store.
    hooks: the hook of each layer.
    runs: its runs.
    expansion: d_sae / d_model.
    batch_size: rows per step.
    decoder_bias: whether b_dec is trained; otherwise it stays 0.
    init: "scaled" to the inputs, or as in the author's "code".
    clip: norm to which each SAE's gradient is clipped, unless its run has another; None: no clipping.
    precision: type of the matrix products; parameters are always float32.
    data_seed: seed of the order of rows.
    objective, schedule, resampling, reports: see these classes. A run may have warm-ups and a decay of its own.
    left_out: the store's shards that were damaged when the experiment began.
    mixed_windows: number of neighbouring windows whose rows are mixed, if the windows are visited in order (--follow),
        each row once; None: all. `store` is then the store's identity, which it has before it is complete.
    """

    store: str
    hooks: tuple[str, ...]
    runs: tuple[Run, ...]
    expansion: float
    batch_size: int
    decoder_bias: bool
    init: Init
    clip: float | None
    precision: Precision
    data_seed: int
    objective: Objective
    schedule: Schedule
    resampling: Resampling
    reports: Reports
    left_out: tuple[int, ...] = ()
    mixed_windows: int | None = None

    @property
    def n_steps(self) -> int:
        """Steps of the whole training."""
        return self.schedule.total // self.batch_size

    def schedule_of(self, run: Run) -> Schedule:
        """Return the schedule of a run."""
        return replace(
            self.schedule, **{name: length for name in LENGTHS if (length := getattr(run, name)) is not None}
        )

    def clip_of(self, run: Run) -> float | None:
        """Return the norm to which a run's gradients are clipped; None: no clipping."""
        return self.clip if run.clip is None else run.clip or None

    @property
    def restarts(self) -> bool:
        """True if dead features are ever restarted. The last step restarts none, because no training follows."""
        return self.resampling.at_most > 0 and -(-self.resampling.interval // self.batch_size) < self.n_steps

    @property
    def resampling_batches(self) -> int:
        """Number of batches from which the inputs of restarted features are drawn."""
        return -(-self.resampling.rows // self.batch_size)

    def restarts_after(self, step: int) -> bool:
        """Return whether dead features are restarted after `step` steps."""
        seen, now = (step - 1) * self.batch_size, step * self.batch_size
        return step < self.n_steps and self.resampling.due(seen, now)

    def validation_steps(self) -> list[int]:
        """List the steps after which the held-out split is measured: every `validate_every` rows, and the last one."""
        every, size = self.reports.validate_every, self.batch_size
        if every <= size:
            return list(range(1, self.n_steps + 1))
        crossings = range(every, self.n_steps * size + 1, every)
        return sorted({-(-row // size) for row in crossings} | {self.n_steps})

    def snapshot_steps(self) -> set[int]:
        """Return the validation steps at which weights are saved: about `snapshots`, spaced logarithmically."""
        steps, n = self.validation_steps(), self.reports.snapshots
        if not n:
            return set()
        ratio = len(steps) ** (1 / max(n - 1, 1))
        return {steps[min(round(ratio**k), len(steps)) - 1] for k in range(n)} | {steps[-1]}

    def to_json(self) -> dict[str, Any]:
        """Return the fields as experiment.json holds them, in JSON's types."""
        fields_by_name: dict[str, Any] = {**asdict(self), "runs": [run.to_json() for run in self.runs]}
        return json.loads(json.dumps(fields_by_name))


def without_shared(runs: Sequence[Run]) -> tuple[tuple[Run, ...], dict[str, Any]]:
    """Return the runs without those values of SHARED that all have, and these values; 0 where runs differ.

    None counts as 0. So an experiment is the same whether a value is given for all variants or for each of them.
    """
    values = [{name: getattr(run, name) or 0 for name in SHARED} for run in runs]
    shared = {
        name: value if all(of_run[name] == value for of_run in values) else 0 for name, value in values[0].items()
    }
    differing: list[dict[str, Any]] = [
        {name: None if value == shared[name] else value for name, value in of_run.items()} for of_run in values
    ]
    return tuple(replace(run, **of_run) for run, of_run in zip(runs, differing, strict=True)), shared


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return a phrase for each difference between two experiments' JSON."""
    phrases: list[str] = []
    for key in sorted({*before, *now}):
        name, a, b = f"{prefix}{key}", before.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            phrases += differences(a, b, f"{name}.")
        elif key == "runs" and isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
            phrases += differences({r["name"]: r for r in a}, {r["name"]: r for r in b}, "")
        elif a != b:
            phrases.append(f"{name} (the experiment has {_show(a)}, the command {_show(b)})")
    return phrases


def _show(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "a run"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
