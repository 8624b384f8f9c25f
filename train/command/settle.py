"""Settle the options of the command line and of its file: the command line's stand before the file's, per variant.

`--preset` and `--variant` on the command line also replace what they contradict in the file. What the file holds for
other variants is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import click
from click.core import ParameterSource

from data.errors import InputError
from train.command.options import Options, has_meaning
from train.command.per_variant import EVERY, Values, override
from train.plugins import identity
from train.presets import chosen_presets
from train.variants import known_variants

# Options that stand for each other: one on the command line overrides the other in the file.
EITHER = {"seed": "seeds", "seeds": "seed", "data_seed": "data_seeds", "data_seeds": "data_seed"}


def settle(ctx: click.Context, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Options:
    """Return the options from the command's values and defaults by name.

    Raises InputError if they contradict each other.
    """
    on_line = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if "resume" in on_line:
        for name in ("out", "overwrite"):
            if name in on_line and ctx.params[name]:
                raise InputError(f"--resume and --{name} exclude each other; give one of them")
    in_file = {} if ctx.default_map is None else dict(ctx.default_map)
    presets = chosen_presets(ctx.params["preset"]) if "preset" in on_line else []
    named = map(identity, ctx.params["variant"]) if "variant" in on_line else ()
    chosen = [preset.variant for preset in presets] or [*named] or None  # None: the file's
    of_presets = {"variant", *(name for preset in presets for name in preset.values)}
    overridden = of_presets if presets else {"preset"} if "variant" in on_line else set()
    overridden |= {other for name, other in EITHER.items() if name in on_line}
    settled: dict[str, Any] = {}
    for name, value in values.items():
        if name in overridden:
            settled[name] = value if name in on_line else defaults.get(name)
        elif isinstance(value, dict) and name in in_file:
            (of_file,) = in_file[name]
            if chosen is not None:
                of_file = _of_variants(name, of_file, chosen)
            settled[name] = (override(of_file, value) if name in on_line else of_file) or None
        else:
            settled[name] = value
    return _without_idle(Options.of(settled), defaults, in_file.keys(), on_line, narrowed=chosen is not None)


def _of_variants(name: str, values: Values, chosen: Collection[str]) -> Values:
    """Return an option's values without those for other variants. Names of no variant stay, to be refused."""
    others = {key for key in values if key in known_variants() or ":" in key} - {*chosen}
    if not any(has_meaning(name, variant, values.get(EVERY, ())) for variant in chosen):
        others.add(EVERY)
    return {variant: of_variant for variant, of_variant in values.items() if variant not in others}


def _without_idle(
    options: Options, defaults: Mapping[str, Any], in_file: Collection[str], on_line: Collection[str], *, narrowed: bool
) -> Options:
    """Return options without a file's values that have no effect because of the command line.

    narrowed: the command line chooses the variants; otherwise its values for a variant may stand before the file's.
    """
    if not in_file:
        return options
    from train.command.effects import OVERRIDDEN, idle_options
    from train.command.grid import make_runs

    runs = make_runs(options.preset or (), options.per_run())
    values = {**vars(options), **options.settings}
    for idle in list(idle_options(options, runs)):
        overridden = idle.reason == OVERRIDDEN and idle.name in on_line
        if idle.name not in in_file or not (overridden or (narrowed and idle.name not in on_line)):
            continue
        if isinstance(values[idle.name], dict):
            values[idle.name] = {key: kept for key, kept in values[idle.name].items() if key != idle.variant} or None
        else:
            values[idle.name] = defaults[idle.name]
    return Options.of({name: value for name, value in values.items() if name != "settings"})
