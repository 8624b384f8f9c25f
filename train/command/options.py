"""The options of a training: the type of each, which checks a value given in a shell, a file or Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import click

from data.command.layer_choice import LayerChoice, Layers
from data.command.option_types import NAME, SEED, Boolean, Count, ListOf, LocalPath, Number, Size, StoreLocation, Text
from data.errors import InputError
from data.system.location import Location
from train.command.per_variant import EVERY, PerVariant, Values
from train.command.settings import Setting, all_settings
from train.normalisation.scales import InputMean, InputScale
from train.optim.schedule import SHARED
from train.plugins import located
from train.variants import ArchitectureSettings, settings_of


class Variant(Text):
    """The name of an architecture; one of a file with its whole path."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return located(super().convert(value, param, ctx))


Names = Annotated[tuple[str, ...] | None, ListOf(NAME, "name")]
Rows = Annotated[int | None, Count()]
RowsPerRun = Annotated[Values | None, PerVariant(ListOf(Count(zero=True), "count"))]


def setting_type(setting: Setting) -> PerVariant:
    """Return the type of a setting's option."""
    kind = PerVariant(ListOf(setting.kind, setting.kind.name))
    kind.takes_truth_values = isinstance(setting.kind, Boolean)
    return kind


SETTINGS_TYPES = {name: setting_type(setting) for name, setting in all_settings().items()}
# Options that may differ between runs, beside variant, in the order in which a run's name has them.
_FIRST = ("l1", "k", "lr", "sigma", "seed", "l1_power", "input_scale", "input_mean", *SHARED)
PER_RUN = (*_FIRST, *(name for name in SETTINGS_TYPES if name not in _FIRST))
# Options per run that are not settings of architectures.
OF_EVERY_RUN = ("lr", "seed", "input_scale", "input_mean", *SHARED)
RESERVED = ("name", "config", "resume", "show", "json", "as_json", "quiet", "help", "version")  # no setting's names
MOST_SEEDS = 1000
MIXED_WINDOWS = 8  # a batch then has 0.87 of a uniform draw's contexts (docs/design.md)
NOT_RECORDED = ("overwrite", "cache", "cache_size")  # options of one call, not of the experiment


@dataclass(frozen=True)
class Options:
    """Options whose values have passed their checks; `train` (api.py) says what each means. None: not given."""

    store: Annotated[Location | None, StoreLocation()]
    variant: Annotated[tuple[str, ...] | None, ListOf(Variant("name"), "name")]
    preset: Names
    lr: Annotated[Values | None, PerVariant(ListOf(Number(0, above=True), "number"))]
    seed: Annotated[Values | None, PerVariant(ListOf(SEED, "integer"))]
    seeds: Annotated[int | None, Count(most=MOST_SEEDS)]
    input_scale: Annotated[Values | None, PerVariant(ListOf(click.Choice(get_args(InputScale)), "name"))]
    input_mean: Annotated[Values | None, PerVariant(ListOf(click.Choice(get_args(InputMean)), "name"))]
    cache: Annotated[Path | None, LocalPath()]
    cache_size: Annotated[int | None, Size()]
    layers: Annotated[Layers, LayerChoice()]
    hook: Annotated[str | None, NAME]
    out: Annotated[Path | None, LocalPath()]
    expansion: Annotated[float, Number(0, 1e9, above=True)]
    activations: Annotated[int | None, Count(most=10**12)]
    batch_size: Rows
    l2: Literal["mean", "sum"]
    norm: Literal["batch", "store", "sample"]
    no_decoder_bias: bool
    init: Literal["scaled", "code"]
    lr_warmup: RowsPerRun
    l1_warmup: RowsPerRun
    lr_decay: RowsPerRun
    clip: Annotated[Values | None, PerVariant(ListOf(Number(0), "number"))]
    precision: Literal["auto", "float32", "bfloat16"]
    resample_interval: Rows
    resample_window: Rows
    resample_threshold: Annotated[float, Number(0, 1)]
    resample_at_most: Annotated[int, Count(zero=True)]
    resample_rows: Rows
    validate_every: Rows
    validate_rows: Rows
    log_every: Rows
    window: Rows
    snapshots: Annotated[int, Count(zero=True, most=10_000)]
    eval_noise: bool
    checkpoint_minutes: Annotated[float, Number(0, 1e6)]
    log: Annotated[tuple[str, ...] | None, ListOf(click.Choice(["tensorboard", "wandb"]), "name")]
    data_seed: Annotated[int, SEED]
    data_seeds: Annotated[tuple[int, ...] | None, ListOf(SEED, "integer")]
    follow: bool
    mix_windows: Annotated[int | None, Count(most=10**6)]
    device: Literal["auto", "cpu", "cuda"]
    overwrite: bool
    skip_damaged: bool
    settings: dict[str, Values]  # settings of architectures, as far as they are given

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Options:
        """Return options from checked values by name, in which the settings of architectures stand beside the rest."""
        names = {field.name for field in fields(cls)} - {"settings"}
        settings = {name: value for name, value in values.items() if name not in names and value is not None}
        return cls(**{name: value for name, value in values.items() if name in names}, settings=settings)

    @property
    def mixed_windows(self) -> int | None:
        """Number of windows whose rows are mixed if the windows are visited in order; None: all."""
        return (self.mix_windows or MIXED_WINDOWS) if self.follow else None

    def per_run(self) -> dict[str, Values | tuple[Any, ...]]:
        """Return the options that a list of values makes runs of, as far as they are given.

        --seeds N gives `seed` the values 0 … N − 1. Raises InputError if --seed is given, too.
        """
        by_name = {name: getattr(self, name) for name in ("variant", *OF_EVERY_RUN)}
        if self.seeds is not None:
            if self.seed is not None:
                raise InputError("--seeds and --seed exclude each other; give the number of seeds, or the seeds")
            by_name["seed"] = {EVERY: tuple(range(self.seeds))}
        return {name: values for name, values in (by_name | self.settings).items() if values is not None}

    def recorded(self) -> dict[str, Any]:
        """Return the options that an experiment records for --resume, in JSON's types."""
        values = {**{name: value for name, value in vars(self).items() if name != "settings"}, **self.settings}
        shown = {name: value for name, value in values.items() if name not in NOT_RECORDED and value is not None}
        return {name: _to_json(value) for name, value in shown.items()}


def settings_with(plugins: Iterable[str]) -> dict[str, Setting]:
    """Return all settings, also those of other packages' variants. Raises InputError if one cannot be an option."""
    settings, taken = all_settings(plugins), {field.name for field in fields(Options)} | {*RESERVED}
    for setting in settings.values():
        if setting.name in taken:
            variant = next(iter(setting.defaults))
            raise InputError(f"--variant {variant}: its setting {setting.name} has the name of an option; rename it")
    return settings


def options_of_variant(variant: str) -> tuple[str, ...]:
    """Return the options per run that a variant has: its settings, and those of every run."""
    of_all = [setting.name for setting in fields(ArchitectureSettings)]
    of_variant = [setting.name for setting in fields(settings_of(variant)) if setting.name not in of_all]
    return (*of_variant, *OF_EVERY_RUN, *of_all)


def has_meaning(name: str, variant: str, values: tuple[Any, ...]) -> bool:
    """Return whether values of an option may be given for a variant."""
    known = options_of_variant(variant)
    if name in ("l1", "l1_warmup") and "l1" not in known:
        return values == (0,)  # which says that there is no coefficient, or no warm-up of it
    return name in known


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {variant: list(values) for variant, values in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, (Location, Layers)) else value


def _type_of(hint: Any) -> click.ParamType[Any] | None:
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint))
    return hint.__metadata__[0] if get_origin(hint) is Annotated else None


# By the options' names in snake_case. Options without a value, such as --overwrite, have no type.
TYPES: dict[str, click.ParamType[Any]] = {
    name: kind
    for name, hint in get_type_hints(Options, include_extras=True).items()
    if (kind := _type_of(hint)) is not None
} | SETTINGS_TYPES
