"""From options as given, on the command line or in a file, to an experiment.

Not here: the options themselves (cli.py), what runs are (runs.py).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from data.cli import parse_layers
from data.errors import InputError
from data.hooks import layer_of
from data.location import Location

# PyTorch takes seconds to import, so functions import it, after the options are parsed.
if TYPE_CHECKING:
    from data.reader import Store
    from train.runs import Experiment, Run

NOT_RECORDED = ("resume", "overwrite", "show", "as_json")  # they are of one call, not of the experiment


class Several(click.ParamType[tuple[Any, ...]]):
    """One value or several, with commas between them; in a TOML file also a list."""

    def __init__(self, kind: type, name: str) -> None:
        self.kind, self.name = kind, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part.strip()) for part in str(value).split(",") if part.strip())
        except ValueError:
            self.fail(f"{value!r} is not a {self.name}, or several with commas between them", param, ctx)


NUMBERS, WHOLES, NAMES = Several(float, "number"), Several(int, "whole number"), Several(str, "name")


def load_defaults(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Take what the command line leaves open from a TOML file (--config) or a recorded command (--resume)."""
    if value is None:
        return None
    file = value / "experiment.json" if param.name == "resume" else value
    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text)["command"] if param.name == "resume" else tomllib.loads(text)
    except OSError as error:
        raise click.BadParameter(f"{value} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError) as error:
        raise click.BadParameter(f"{value} is not what `train` can read ({error})") from error
    known = {parameter.name for parameter in ctx.command.params}
    by_option = {option.lstrip("-"): p.name for p in ctx.command.params for option in p.opts}
    defaults = {by_option.get(key.replace("_", "-"), key): setting for key, setting in found.items()}
    unknown = sorted(set(defaults) - known)
    if unknown:
        raise click.BadParameter(f"{value}: `train` has no option {', '.join(unknown)}; see train --help")
    texts = {key: ",".join(map(str, v)) if isinstance(v, list) else v for key, v in defaults.items()}
    ctx.default_map = {**(ctx.default_map or {}), **texts}
    return value


def given_values(options: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Those of the options that make runs, as far as they were given."""
    from train.runs import PER_RUN

    given = {name: options[name] for name in PER_RUN if options[name]}
    unknown = set(given.get("input_scale", ())) - {"none", "mean-norm"}
    if unknown:
        raise InputError(f"--input-scale {unknown.pop()}: give none or mean-norm")
    return given


def command_line(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as an experiment records them, for --resume: what was given or is default, in JSON's types."""
    found = {key: value for key, value in options.items() if key not in NOT_RECORDED and value is not None}
    return {k: list(v) if isinstance(v, tuple) else str(v) if isinstance(v, Location) else v for k, v in found.items()}


def choose_hooks(store: Store, layers: str, hook: str | None) -> tuple[str, ...]:
    """The store's hooks of some layers. Raises InputError where it lacks one, or has several a layer and none named."""
    by_layer: dict[int, list[str]] = {}  # −1: outside the blocks
    for name in store.hooks:
        if hook is None or name.endswith((f".hook_{hook}", f".{hook}")) or name == hook:
            by_layer.setdefault(-1 if (number := layer_of(name)) is None else number, []).append(name)
    if not by_layer:
        raise InputError(f"--hook {hook}: the store has none of this name; it has {', '.join(store.hooks)}")
    if any(len(names) > 1 for names in by_layer.values()):
        raise InputError(f"--hook: the store has several hooks a layer; name one of {', '.join(store.hooks)}")
    wanted = sorted(by_layer) if layers == "all" else parse_layers(layers, 0)
    missing = [layer for layer in wanted if layer not in by_layer]
    if missing:
        raise InputError(
            f"--layers {layers}: the store has no layer {missing[0]}; it has {', '.join(map(str, sorted(by_layer)))}"
        )
    return tuple(by_layer[layer][0] for layer in wanted)


def make_experiment(store: Store, runs: Sequence[Run], options: Mapping[str, Any], device: str) -> Experiment:
    """The experiment that the options describe. Raises InputError where they cannot go together."""
    from train.objective import Objective
    from train.resample import Resampling
    from train.runs import Experiment, Reports
    from train.schedule import Schedule

    if not store.complete or store.fingerprint is None:
        raise InputError(f"--store {store.path}: is unfinished; continue the harvest with its command")
    if options["batch_size"] > store.n_rows("train"):
        raise InputError(
            f"--batch-size {options['batch_size']}: the store has {store.n_rows('train')} training rows; give less, or "
            "harvest more tokens"
        )
    if options["activations"] < options["batch_size"]:
        raise InputError(
            f"--activations {options['activations']}: not one batch of {options['batch_size']}; give more, or a "
            "smaller --batch-size"
        )
    if options["clip"] is not None and options["clip"] <= 0:
        raise InputError(f"--clip {options['clip']:g}: a norm to clip to is greater than 0")
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
    )  # fmt: skip
