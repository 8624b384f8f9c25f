"""The command that writes the report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analyze.commands.options import (
    StoreChoice,
    command,
    contexts_option,
    device_option,
    keep_first_option,
    model_option,
    page_folder_option,
    runs_argument,
    seed_option,
    skip_option,
    store_options,
    threshold_options,
    without_model_option,
)
from analyze.commands.shared import (
    check_contexts,
    check_features,
    open_store_and_runs,
)
from data.command.base import choose_device
from data.command.option_types import Count, excludes

if TYPE_CHECKING:
    from analyze.measure.dictionary import Thresholds

MOST_SHOWN = 10_000  # features of a kind on one page


@command("report", "report --store data/demo.zarr --model demo runs/demo --out report")
@store_options
@runs_argument
@skip_option
@model_option
@page_folder_option
@contexts_option("for measures that do not run the language model", "--held-out")
@click.option(
    "--contexts", "contexts_with_model", type=Count(), default="100", show_default=True,
    callback=excludes("without_model"),
    help="Number of held-out contexts, evenly spaced, for measures that run the language model.",
)  # fmt: skip
@click.option(
    "--snapshot-contexts", type=Count(zero=True), default=12, show_default=True, callback=excludes("without_model"),
    help="Number of held-out contexts, evenly spaced, for measures that run the language model on every snapshot of "
    "the training; 0 leaves these measures out.",
)  # fmt: skip
@click.option(
    "--features", type=Count(zero=True, most=MOST_SHOWN), default=5, show_default=True,
    help="Number of features of each kind on the page of features, which shows the middle layer of one run per "
    "family; 0 writes no such page.",
)  # fmt: skip
@click.option(
    "--keep-measured", is_flag=True,
    help="Keep the measurements in OUT/measured once the report is written. A later report into the same folder then "
    "measures only the runs that are new.",
)  # fmt: skip
@without_model_option
@keep_first_option
@threshold_options
@seed_option
@device_option
def report_command(
    choice: StoreChoice, paths: tuple[Path, ...], skip_damaged: bool,
    model: str | None, out: Path, held_out: int | None,
    contexts_with_model: int, snapshot_contexts: int, features: int, keep_measured: bool, without_model: bool,
    keep_first: bool, thresholds: Thresholds, seed: int, device: str,
) -> None:  # fmt: skip
    """Write a report on runs: HTML pages that open offline, and their data.

    The first page says which architecture is better at which L0, in which layers, and how to repeat the report. Another
    has the post's claims and figures, and a third features with their contexts.
    """
    from analyze.features.unembedding import load_unembedding
    from analyze.measure.heldout import Heldout
    from analyze.measure.measurements import Scope
    from analyze.measure.patching.model import load_for_store
    from analyze.report.write import write_report
    from analyze.runs.trained_run import all_hooks

    store, usable = open_store_and_runs(choice, paths, skip_damaged=skip_damaged)
    runs = sorted(usable.runs, key=lambda run: (run.variant, run.sparsity))
    for name, contexts in (
        ("held_out", held_out), ("contexts_with_model", contexts_with_model), ("snapshot_contexts", snapshot_contexts),
    ):  # fmt: skip
        check_contexts(store, contexts, name)
    check_features(store, runs, store.hooks, "pillars", thresholds.pillars)
    torch_device = choose_device(device)
    scope = Scope(
        Heldout(store, held_out), Heldout(store, contexts_with_model),
        Heldout(store, snapshot_contexts) if snapshot_contexts else None, seed, keep_first, thresholds,
    )  # fmt: skip
    index = write_report(
        out, scope, runs,
        None if without_model else load_for_store(store, all_hooks(runs), model=model, device=torch_device),
        unembedding=None if without_model or not features else load_unembedding(store, model),
        features_each=features, left_out=usable.left_out, device=torch_device, command=command_line(model),
        keep_measured=keep_measured,
    )  # fmt: skip
    click.echo(index)


def command_line(model: str | None) -> str:
    """Return the command line of this process, for the user to repeat, with the name alone of a model's absolute path.

    model: the value of `--model`.
    """
    arguments = sys.argv[1:]
    if model is not None and Path(model).is_absolute():
        name = Path(model).name
        arguments = [{model: name, f"--model={model}": f"--model={name}"}.get(text, text) for text in arguments]
    return shlex.join(["analyze", *arguments])
