"""What the commands share: options, opening, printing, writing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyze.tables import Row, as_csv
from data.cli import Count, InterruptibleCommand, OutputFolder, StoreLocation, parse_layers
from data.errors import InputError
from data.hooks import layer_of
from data.json_text import json_text
from data.location import Location, write_file

# PyTorch takes seconds to import, so commands import it in their bodies, after their options are parsed.
if TYPE_CHECKING:
    import torch

    from analyze.fitted import FittedRun
    from analyze.heldout import Heldout
    from analyze.lens import Lens
    from analyze.lm import PatchableModel
    from data.reader import Store

store_option = click.option(
    "--store", "path", type=StoreLocation(), required=True, help="The store, such as data/gpt2.zarr."
)
runs_argument = click.argument("paths", metavar="RUNS...", nargs=-1, required=True, type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
model_option = click.option(
    "--model", help="The language model, as `harvest --model` took it.  [default: its name in the store]"
)
contexts_option = click.option(
    "--contexts", type=Count(), default="100", show_default=True, help="So many held-out contexts, evenly spaced."
)


def some_contexts_option(purpose: str = "", name: str = "--contexts") -> Callable[[Any], Any]:
    """How many of the held-out contexts a measure without the model takes."""
    help_ = f"So many held-out contexts, evenly spaced{purpose}.  [default: all]"
    return click.option(name, type=Count(), help=help_)


keep_first_option = click.option(
    "--keep-first", is_flag=True, help="With the model: leave position 0 of each context as it is."
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resampling, and of NSAE's noise."
)
device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
out_option = click.option("--out", type=OutputFolder(), help="A folder for CSV and PNG.")
csv_option = click.option("--csv", "as_csv_", is_flag=True, help="Print CSV.")


def command(name: str, example: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command of the group, with an example of what follows `analyze`."""
    return click.command(name, cls=InterruptibleCommand, epilog=f"Example: analyze {example}")


def finite(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter("give a number")
    return value


THRESHOLDS = (
    click.option("--pillars", type=Count(), default="100", show_default=True, help="How many of the largest norms."),
    click.option(
        "--correction-norm", type=click.FloatRange(0, min_open=True), default=0.5, show_default=True, callback=finite,
        help="Corrections have norms below.",
    ),
    click.option(
        "--direction-cosine", type=click.FloatRange(-1, 1), default=0.9, show_default=True, callback=finite,
        help="Directions have a twin so alike,",
    ),
    click.option(
        "--direction-ratio", type=click.FloatRange(1), default=1.5, show_default=True, callback=finite,
        help="and so much longer or shorter.",
    ),
)  # fmt: skip


def threshold_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say which features stand out; the command gets them as `thresholds`."""

    @wraps(function)
    def with_thresholds(
        *, pillars: int, correction_norm: float, direction_cosine: float, direction_ratio: float, **others: Any
    ) -> None:
        from analyze.dictionary import Thresholds

        thresholds = Thresholds(pillars, correction_norm, direction_cosine, direction_ratio)
        function(**others, thresholds=thresholds)

    decorated: Callable[..., None] = with_thresholds
    for option in reversed(THRESHOLDS):
        decorated = option(decorated)
    return decorated


def opened(path: Location, paths: Sequence[Path]) -> tuple[Store, list[FittedRun]]:
    """A store, and runs that were trained on it. Raises InputError where they were not."""
    from analyze.fitted import check_store, find_runs
    from data.reader import open_store

    store, fitted = open_store(path), find_runs(paths)
    check_store(fitted, store)
    return store, fitted


def choose_hooks(fitted: Sequence[FittedRun], layers: str) -> list[str]:
    """The runs' hooks in some layers. Raises InputError where they have none of one."""
    from analyze.fitted import hooks_of

    hooks = hooks_of(fitted)
    if layers == "all":
        return hooks
    wanted, there = parse_layers(layers, 0), {layer: hook for hook in hooks if (layer := layer_of(hook)) is not None}
    missing = [layer for layer in wanted if layer not in there]
    if missing:
        known = ", ".join(map(str, sorted(there)))
        raise InputError(f"--layers {layers}: the runs have no layer {missing[0]}; they have {known}")
    return [there[layer] for layer in wanted]


def show(facts: Any, lines: Sequence[Row], table: str, as_json: bool, as_csv_: bool) -> None:
    """Print the facts as JSON, or the lines as CSV, or the table."""
    click.echo(json_text(facts) if as_json else as_csv(lines).rstrip() if as_csv_ else table)


def load_lens(store: Store, model: str | None) -> Lens:
    from analyze import lens

    return lens.load_lens(store, model)


def load_lm(store: Store, hooks: Sequence[str], model: str | None, device: torch.device) -> PatchableModel:
    from analyze.lm import load_for_store

    return load_for_store(store, hooks, model=model, device=device)


def write_csv(out: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """NAME.csv for each table, in a folder that is made."""
    for name, lines in tables.items():
        write_file(out / f"{name}.csv", as_csv(lines).encode())


def about(heldout: Heldout) -> dict[str, Any]:
    """What the measures of a JSON answer were taken on."""
    return {
        "store": heldout.store.fingerprint, "contexts": heldout.n_contexts, "rows": heldout.n_rows(),
        "resampled": heldout.unit, "groups": heldout.n_groups,
    }  # fmt: skip
