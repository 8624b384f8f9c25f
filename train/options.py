"""From options as given, on the command line or in a file, to an experiment.

Not here: the options themselves (cli.py), what runs are (runs.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from data.command.option_types import Layers, check_no_effect, flag_of, is_given
from data.errors import InputError
from data.hooks import layer_of
from data.system.location import Location

# PyTorch takes seconds to import, so functions import it, after the options are parsed.
if TYPE_CHECKING:
    from data.store.reader import Store
    from train.experiment import Experiment, Run

NOT_RECORDED = ("resume", "overwrite", "show", "as_json")  # they are of one call, not of the experiment
FIXED_BY_PRESETS = ("variant", "l1", "lr", "sigma")
MOST_VALIDATIONS = 100_000


def settled(ctx: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, where the command line's `--preset` or `--variant` overrides what a file says in its place.

    Raises InputError where `--resume` comes with an option that contradicts it.
    """
    from_line = {name for name in options if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if "resume" in from_line:
        for name in ("out", "overwrite"):
            if name in from_line and options[name]:
                raise InputError(f"--resume and {flag_of(ctx, name)} exclude each other; give one of them")
    overridden: tuple[str, ...] = ()
    if "preset" in from_line:
        overridden = FIXED_BY_PRESETS
    elif "variant" in from_line:
        overridden = ("preset",)
    return {name: None if name in overridden and name not in from_line else v for name, v in options.items()}


def given_values(options: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Those of the options that make runs, as far as they were given."""
    from train.experiment import PER_RUN

    return {name: options[name] for name in PER_RUN if options[name] is not None}


def command_line(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as an experiment records them, for --resume: what was given or is default, in JSON's types."""
    found = {key: value for key, value in options.items() if key not in NOT_RECORDED and value is not None}
    return {
        key: list(value) if isinstance(value, tuple) else str(value) if isinstance(value, (Location, Layers)) else value
        for key, value in found.items()
    }


def choose_hooks(store: Store, layers: Layers, hook: str | None) -> tuple[str, ...]:
    """The store's hooks of some layers. Raises InputError where it lacks one, or has several a layer and none named."""
    by_layer: dict[int, list[str]] = {}  # −1: outside the blocks
    for name in store.hooks:
        if hook is None or name.endswith((f".hook_{hook}", f".{hook}")) or name == hook:
            by_layer.setdefault(-1 if (number := layer_of(name)) is None else number, []).append(name)
    if not by_layer:
        raise InputError(f"--hook {hook}: the store has none of this name; it has {', '.join(store.hooks)}")
    if any(len(names) > 1 for names in by_layer.values()):
        raise InputError(f"--hook: the store has several hooks a layer; name one of {', '.join(store.hooks)}")
    return tuple(by_layer[layer][0] for layer in layers.choose(by_layer, "the store"))


def check_effects(ctx: click.Context, options: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Raise InputError where an option that is given has no effect on these runs, or contradicts another.

    `options` have all their defaults.
    """
    from train.sae import ARCHITECTURES

    if not any(ARCHITECTURES[run.variant].uses_noise for run in runs):
        check_no_effect(ctx, "without a run whose variant has noise (nsae)", "sigma", "eval_noise")
    if options["norm"] != "batch" and not any(run.l1_power for run in runs):
        check_no_effect(ctx, "where --l1-power is 0 for every run", "norm")
    if not is_given(ctx, "resample_interval"):
        resampling = ("resample_window", "resample_threshold", "resample_at_most", "resample_rows")
        check_no_effect(ctx, "without --resample-interval", *resampling)
    total = options["activations"]
    for name in ("window", "lr_warmup", "l1_warmup", "lr_decay"):
        if is_given(ctx, name) and (options[name] or 0) > total:
            raise InputError(
                f"{flag_of(ctx, name)} {options[name]:,}: is longer than --activations {total:,}; give at most that"
            )
    interval, window = options["resample_interval"], options["resample_window"]
    if is_given(ctx, "resample_interval") and interval >= total:
        raise InputError(
            f"--resample-interval {interval:,}: no restart comes before the end of --activations {total:,}; give less, "
            "or leave it out"
        )
    if is_given(ctx, "resample_window") and window > interval:
        raise InputError(
            f"--resample-window {window:,}: is longer than --resample-interval {interval:,}; give at most that"
        )
    if total // options["validate_every"] > MOST_VALIDATIONS:
        raise InputError(
            f"--validate-every {options['validate_every']:,}: makes {total // options['validate_every']:,} validations "
            f"of --activations {total:,}; give {-(-total // MOST_VALIDATIONS):,} or more"
        )


def check_norms(store: Store, hooks: Sequence[str]) -> None:
    """Raise InputError where all training rows of a hook are zero: an SAE's start and L1 are scaled by their norm."""
    for hook in hooks:
        if store.statistics(hook).mean_norm() == 0:
            raise InputError(f"--store {store.path}: all rows of {hook} are zero; leave its layer out with --layers")


def make_experiment(store: Store, runs: Sequence[Run], options: Mapping[str, Any], device: str) -> Experiment:
    """The experiment that the options describe, on a complete store. Raises InputError where it lacks a hook."""
    from train.experiment import Experiment, Reports
    from train.loss import Objective
    from train.optim.schedule import Resampling, Schedule

    assert store.fingerprint is not None
    precision = options["precision"]
    return Experiment(
        store=store.fingerprint,
        hooks=choose_hooks(store, options["layers"], options["hook"]),
        runs=tuple(runs),
        expansion=options["expansion"],
        batch_size=options["batch_size"],
        decoder_bias=not options["no_decoder_bias"],
        init=options["init"],
        clip=options["clip"],
        precision=precision if precision != "auto" else "bfloat16" if device == "cuda" else "float32",
        data_seed=options["data_seed"],
        objective=Objective(options["l2"], options["norm"]),
        schedule=Schedule(
            options["activations"], options["lr_warmup"] or 0, options["l1_warmup"] or 0, options["lr_decay"] or 0
        ),
        resampling=Resampling(
            interval=options["resample_interval"], window=options["resample_window"],
            threshold=options["resample_threshold"], at_most=options["resample_at_most"], rows=options["resample_rows"],
        ),
        reports=Reports(
            log_every=options["log_every"], validate_every=options["validate_every"],
            validate_rows=options["validate_rows"], window=options["window"], snapshots=options["snapshots"],
        ),
        left_out=tuple(sorted(store.left_out)),
    )  # fmt: skip


def check_rows(options: Mapping[str, Any], n_rows: int | None) -> None:
    """Raise InputError where the store's training rows (None: unknown) or --activations are too few."""
    batch, total = options["batch_size"], options["activations"]
    if n_rows is not None and batch > n_rows:
        raise InputError(
            f"--batch-size {batch}: the store has {n_rows} training rows; give less, or harvest more tokens"
        )
    if total < batch:
        raise InputError(f"--activations {total}: not one batch of {batch}; give more, or a smaller --batch-size")
    if n_rows is not None and options["resample_rows"] > n_rows:
        raise InputError(
            f"--resample-rows {options['resample_rows']:,}: the store has {n_rows:,} training rows; give at most that"
        )


def folder_of(options: Mapping[str, Any]) -> Path:
    """The experiment's folder: as given, or named after the store."""
    given: Path | None = options["resume"] or options["out"]
    return given or Path("runs") / options["store"].name.removesuffix(".zarr")
