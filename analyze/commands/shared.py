"""What the commands share: options, opening, printing, writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyze.runs.progress import Usable, notes, progress_lines, unfinished_notes, usable
from analyze.tables import Row, as_csv
from data.command.base import InterruptibleCommand
from data.command.json_text import json_text
from data.command.option_types import (
    NAME,
    SEED,
    Count,
    LayerChoice,
    Layers,
    LocalPath,
    Number,
    OutputFolder,
    StoreLocation,
    excludes,
    flag_of,
    is_given,
)
from data.errors import InputError
from data.hooks import layer_of
from data.system.location import Location, write_file

# PyTorch takes seconds to import, so commands import it in their bodies, after their options are parsed.
if TYPE_CHECKING:
    import torch

    from analyze.measure.heldout import Heldout
    from analyze.measure.patching.model import PatchableModel
    from analyze.report.features.unembedding import Unembedding
    from analyze.runs.trained_run import TrainedRun
    from data.store.reader import Store

store_option = click.option(
    "--store", "path", type=StoreLocation(), required=True, help="The store, such as data/gpt2.zarr."
)
skip_option = click.option(
    "--skip-damaged", is_flag=True, help="Check the held-out shards first, and leave damaged ones out."
)
runs_argument = click.argument("paths", metavar="RUNS...", nargs=-1, required=True, type=LocalPath())
json_option = click.option("--json", "as_json", is_flag=True, callback=excludes("as_csv_"), help="Print JSON.")
model_option = click.option(
    "--model",
    type=NAME,
    callback=excludes("without_model"),
    help="The language model, as `harvest --model` took it.  [default: its name in the store]",
)
contexts_option = click.option(
    "--contexts", type=Count(), default="100", show_default=True, help="So many held-out contexts, evenly spaced."
)


layers_option = click.option(
    "--layers", type=LayerChoice(), default="all", show_default=True,
    help="Of these layers: `all`, or such as 0,5,8-11; 3- is 3 to the end.",
)  # fmt: skip


def some_contexts_option(purpose: str = "", name: str = "--contexts") -> Callable[[Any], Any]:
    """How many of the held-out contexts a measure without the model takes."""
    help_ = f"So many held-out contexts, evenly spaced{purpose}.  [default: all]"
    return click.option(name, type=Count(), help=help_)


keep_first_option = click.option(
    "--keep-first",
    is_flag=True,
    callback=excludes("without_model"),
    help="With the model: leave position 0 of each context as it is.",
)
seed_option = click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Of the resampling, and of NSAE's noise."
)
device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
out_option = click.option("--out", type=OutputFolder(), help="A folder for CSV and PNG.")
csv_option = click.option("--csv", "as_csv_", is_flag=True, callback=excludes("as_json"), help="Print CSV.")


def command(name: str, example: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command of the group, with an example of what follows `analyze`."""
    return click.command(name, cls=InterruptibleCommand, epilog=f"Example: analyze {example}")


THRESHOLDS = (
    click.option(
        "--pillars", type=Count(), default="100", show_default=True, callback=excludes("wanted"),
        help="How many of the largest norms.",
    ),
    click.option(
        "--correction-norm", type=Number(0, above=True), default=0.5, show_default=True, callback=excludes("wanted"),
        help="Corrections have norms below.",
    ),
    click.option(
        "--direction-cosine", type=Number(-1, 1), default=0.9, show_default=True, callback=excludes("wanted"),
        help="Directions have a twin so alike,",
    ),
    click.option(
        "--direction-ratio", type=Number(1), default=1.5, show_default=True, callback=excludes("wanted"),
        help="and so much longer or shorter.",
    ),
)  # fmt: skip


def threshold_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say which features stand out; the command gets them as `thresholds`."""

    @wraps(function)
    def with_thresholds(
        *, pillars: int, correction_norm: float, direction_cosine: float, direction_ratio: float, **others: Any
    ) -> None:
        from analyze.measure.dictionary import Thresholds

        thresholds = Thresholds(pillars, correction_norm, direction_cosine, direction_ratio)
        function(**others, thresholds=thresholds)

    decorated: Callable[..., None] = with_thresholds
    for option in reversed(THRESHOLDS):
        decorated = option(decorated)
    return decorated


def opened(path: Location, paths: Sequence[Path], *, skip_damaged: bool = False) -> tuple[Store, Usable]:
    """Open a store and the runs that were trained on it; with `skip_damaged`, without its damaged held-out shards.

    Standard error names those that are unfinished, those that cannot be measured and are left out, and such shards.

    Raises InputError if a run was trained on another store, or no run can be measured.
    """
    from analyze.runs.trained_run import all_hooks, check_store, find_runs
    from data.store.reader import open_store

    store, runs = open_store(path), find_runs(paths)
    check_store(runs, store)
    chosen = told(usable(runs))
    for note in unfinished_notes(chosen.runs):
        click.echo(f"Note: {note}", err=True)
    if skip_damaged:
        from data.store.verify import damaged_shards

        damaged = damaged_shards(store, all_hooks(chosen.runs), ("heldout",))
        for why in damaged.values():
            click.echo(f"left out: {why}", err=True)
        store = store.without(damaged)
    return store, chosen


def told(chosen: Usable) -> Usable:
    """The same runs; the notes on those that are left out go to standard error."""
    for note in notes(chosen.left_out):
        click.echo(f"Note: {note}", err=True)
    return chosen


def heldout_contexts(store: Store, contexts: int | None, name: str = "contexts") -> Heldout:
    """So many of a store's held-out contexts. Raises InputError where it has fewer than the option `name` gives."""
    from analyze.measure.heldout import Heldout

    check_contexts(store, contexts, name)
    return Heldout(store, contexts)


def check_contexts(store: Store, contexts: int | None, name: str) -> None:
    """Raise InputError where the option `name` is given and the store has fewer held-out contexts."""
    ctx, there = click.get_current_context(), store.layout.n_heldout_contexts
    if is_given(ctx, name) and (contexts or 0) > there:
        raise InputError(
            f"{flag_of(ctx, name)} {contexts:,}: the store has {there:,} held-out contexts; give at most that"
        )


def check_features(store: Store, fitted: Sequence[TrainedRun], hooks: Sequence[str], name: str, most: int) -> None:
    """Raise InputError where the option `name` is given and some SAE has fewer than `most` features."""
    ctx = click.get_current_context()
    for run in fitted if is_given(ctx, name) else ():
        for hook in set(run.hooks) & set(hooks):
            there = round(run.settings.experiment.expansion * store.width(hook))
            if most > there:
                raise InputError(f"{flag_of(ctx, name)}: {run.name} has {there:,} features; give less")


def choose_hooks(fitted: Sequence[TrainedRun], layers: Layers) -> list[str]:
    """All of the runs' hooks in some layers. Raises InputError where they have none of one."""
    from analyze.runs.trained_run import all_hooks

    hooks = all_hooks(fitted)
    if not layers.ranges:
        return hooks
    known = {layer for hook in hooks if (layer := layer_of(hook)) is not None}
    chosen = layers.choose(known, "the runs")
    return [hook for hook in hooks if layer_of(hook) in chosen]


def show(facts: Any, lines: Sequence[Row], table: str, as_json: bool, as_csv_: bool) -> None:
    """Print the facts as JSON, or the lines as CSV, or the table."""
    click.echo(json_text(facts) if as_json else as_csv(lines).rstrip() if as_csv_ else table)


def load_unembedding(store: Store, model: str | None) -> Unembedding:
    from analyze.report.features import unembedding

    return unembedding.load_unembedding(store, model)


def load_lm(store: Store, hooks: Sequence[str], model: str | None, device: torch.device) -> PatchableModel:
    from analyze.measure.patching.model import load_for_store

    return load_for_store(store, hooks, model=model, device=device)


def write_csv(out: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """NAME.csv for each table, in a folder that is made."""
    for name, lines in tables.items():
        write_file(out / f"{name}.csv", as_csv(lines).encode())


def about_runs(chosen: Usable) -> dict[str, Any]:
    """How far the runs of a JSON answer were trained, and which runs are left out."""
    return {"runs": progress_lines(chosen.runs), "left_out": chosen.left_out}


def about(heldout: Heldout) -> dict[str, Any]:
    """What the measures of a JSON answer were taken on."""
    return {
        "store": heldout.store.fingerprint, "contexts": heldout.n_contexts, "rows": heldout.n_rows(),
        "resampled": heldout.unit, "groups": heldout.n_groups,
    }  # fmt: skip
