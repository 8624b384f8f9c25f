"""Steps that several commands of `analyze` share: open a store and runs, check options against them, print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyze.commands.options import StoreChoice
from analyze.runs.progress import Usable, notes, progress_rows, unfinished_notes, usable
from analyze.tables import TableRow, as_csv, as_json
from data.command.layer_choice import Layers
from data.command.option_types import flag_of, is_given
from data.errors import InputError

# PyTorch takes seconds to import, so commands import it in their bodies, after their options are parsed.
if TYPE_CHECKING:
    from analyze.measure.heldout import Heldout
    from analyze.runs.trained_run import TrainedRun
    from data.store.reader import Store


def open_store_and_runs(
    choice: StoreChoice, paths: Sequence[Path], *, skip_damaged: bool = False
) -> tuple[Store, Usable]:
    """Open a store and the runs that were trained on it, or on one of the same rows in another stored type.

    With `skip_damaged`, the store is without its damaged held-out shards. Standard error names unfinished runs, runs
    that cannot be measured and are left out, and such shards.

    Raises InputError if a run was trained on other rows, or no run can be measured.
    """
    from analyze.runs.same_rows import check_store
    from analyze.runs.trained_run import all_hooks, find_runs

    store, runs = choice.open(), find_runs(paths)
    check_store(runs, store)
    usable_runs = note_left_out(usable(runs))
    for note in unfinished_notes(usable_runs.runs):
        click.echo(f"Note: {note}", err=True)
    if skip_damaged:
        from data.store.verify import damaged_shards

        damaged = damaged_shards(store, all_hooks(usable_runs.runs), ("heldout",))
        for why in damaged.values():
            click.echo(f"left out: {why}", err=True)
        store = store.without(damaged)
    return store, usable_runs


def note_left_out(usable_runs: Usable) -> Usable:
    """Print a note for each run that is left out to standard error; return the same runs."""
    for note in notes(usable_runs.left_out):
        click.echo(f"Note: {note}", err=True)
    return usable_runs


def heldout_contexts(store: Store, contexts: int | None) -> Heldout:
    """Return the held-out contexts that `--contexts` asks for. Raises InputError if the store has fewer."""
    from analyze.measure.heldout import Heldout

    check_contexts(store, contexts, "contexts")
    return Heldout(store, contexts)


def check_contexts(store: Store, contexts: int | None, name: str) -> None:
    """Raise InputError if the option `name` was given and the store has fewer held-out contexts."""
    ctx, available = click.get_current_context(), store.layout.n_heldout_contexts
    if is_given(ctx, name) and (contexts or 0) > available:
        raise InputError(
            f"{flag_of(ctx, name)} {contexts:,}: the store has {available:,} held-out contexts; give at most that"
        )


def check_features(store: Store, runs: Sequence[TrainedRun], hooks: Sequence[str], name: str, needed: int) -> None:
    """Raise InputError if the option `name` was given and an SAE at the hooks has fewer than `needed` features."""
    ctx = click.get_current_context()
    for run in runs if is_given(ctx, name) else ():
        for hook in set(run.hooks) & set(hooks):
            d_sae = n_features_of(run, store, hook)
            if needed > d_sae:
                raise InputError(f"{flag_of(ctx, name)}: {run.name} has {d_sae:,} features; give less")


def n_features_of(run: TrainedRun, store: Store, hook: str) -> int:
    """Return the count of features of a run's SAE."""
    return round(run.settings.experiment.expansion * store.width(hook))


def choose_hooks(runs: Sequence[TrainedRun], layers: Layers) -> list[str]:
    """Return the runs' hooks in the layers that `--layers` names. Raises InputError if they have no hook in one."""
    from analyze.runs.trained_run import all_hooks

    return layers.choose_hooks(all_hooks(runs), "the runs")


def show(answer: Any, rows: Sequence[TableRow], table: str, in_json: bool, in_csv: bool) -> None:
    """Print the answer as JSON, or the rows as CSV, or the table."""
    click.echo(as_json(answer) if in_json else as_csv(rows).rstrip() if in_csv else table)


def describe_runs(usable_runs: Usable) -> dict[str, Any]:
    """Return a JSON answer's keys on runs: how far each was trained, and which are left out."""
    return {"runs": progress_rows(usable_runs.runs), "left_out": usable_runs.left_out}


def describe_heldout(heldout: Heldout) -> dict[str, Any]:
    """Return a JSON answer's keys on the rows that were measured."""
    return {
        "store": heldout.store.fingerprint, "contexts": heldout.n_contexts, "rows": heldout.n_rows(),
        **heldout.describe_groups(),
    }  # fmt: skip
