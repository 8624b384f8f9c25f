"""Commands that write pages: the report, and features to look at."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analyze.commands.shared import (
    check_contexts,
    check_features,
    choose_hooks,
    command,
    device_option,
    heldout_contexts,
    keep_first_option,
    layers_option,
    load_lm,
    load_unembedding,
    model_option,
    opened,
    runs_argument,
    seed_option,
    skip_option,
    some_contexts_option,
    store_option,
    threshold_options,
)  # fmt: skip
from data.command.base import choose_device
from data.command.option_types import Count, Layers, OutputFolder, Several, excludes
from data.system.location import Location

if TYPE_CHECKING:
    from analyze.measure.dictionary import Thresholds

MOST_SHOWN = 10_000  # features of a kind on one page

without_model_option = click.option(
    "--without-model",
    is_flag=True,
    callback=excludes("model", "keep_first", "contexts_with_model", "snapshot_contexts"),
    help="Leave out what needs the language model; tokens are then numbers.",
)
folder_option = click.option("--out", type=OutputFolder(), required=True, help="The folder to write.")


@command("report", "report --store data/demo.zarr --model demo runs/demo --out report")
@store_option
@runs_argument
@skip_option
@model_option
@folder_option
@some_contexts_option(", for measures without the model", "--held-out")
@click.option(
    "--contexts", "contexts_with_model", type=Count(), default="100", show_default=True,
    callback=excludes("without_model"), help="And for those with it.",
)  # fmt: skip
@click.option(
    "--snapshot-contexts", type=Count(zero=True), default=12, show_default=True, callback=excludes("without_model"),
    help="And for those over training, of all snapshots; 0 leaves them out.",
)  # fmt: skip
@click.option(
    "--features", type=Count(zero=True, most=MOST_SHOWN), default=5, show_default=True,
    help="Features of each kind to show, of a run of each family in its middle layer; 0: no page of them.",
)  # fmt: skip
@without_model_option
@keep_first_option
@threshold_options
@seed_option
@device_option
def report_command(
    path: Location, paths: tuple[Path, ...], skip_damaged: bool,
    model: str | None, out: Path, held_out: int | None,
    contexts_with_model: int, snapshot_contexts: int, features: int, without_model: bool, keep_first: bool,
    thresholds: Thresholds, seed: int, device: str,
) -> None:  # fmt: skip
    """Everything of some runs in one HTML file: claims, figures, tables, how to repeat it; and its data beside it."""
    from analyze.measure.cache import MeasurementCache
    from analyze.measure.heldout import Heldout
    from analyze.measure.measurements import Scope, gather
    from analyze.report import write
    from analyze.report.features.page import PageSettings, representatives, write_features_page
    from analyze.runs.trained_run import all_hooks

    store, chosen = opened(path, paths, skip_damaged=skip_damaged)
    fitted = chosen.runs
    fitted.sort(key=lambda run: (run.variant, run.l1))
    for name, contexts in (
        ("held_out", held_out), ("contexts_with_model", contexts_with_model), ("snapshot_contexts", snapshot_contexts),
    ):  # fmt: skip
        check_contexts(store, contexts, name)
    check_features(store, fitted, store.hooks, "pillars", thresholds.pillars)
    where = choose_device(device)
    lm = None if without_model else load_lm(store, all_hooks(fitted), model, where)
    unembedding = None if without_model or not features else load_unembedding(store, model)
    cache = MeasurementCache(out / "measured")
    snapshots = Heldout(store, snapshot_contexts) if snapshot_contexts else None
    scope = Scope(
        Heldout(store, held_out), Heldout(store, contexts_with_model), snapshots, seed, keep_first, thresholds
    )  # fmt: skip
    measurements = gather(scope, fitted, lm, left_out=chosen.left_out, device=where, cache=cache)
    if features:
        saes = representatives(measurements.fires, measurements.families)
        settings = PageSettings(features, thresholds=thresholds, seed=seed)
        write_features_page(out, scope.heldout, saes, unembedding, settings, link_report=True)
    write.write(measurements, scope, out, command_line(), features=features > 0)
    cache.clear()
    click.echo(f"{out / 'index.html'}")


@command("features", "features --store data/demo.zarr --model demo runs/demo/nsae --layers 2 --out features")
@store_option
@runs_argument
@skip_option
@model_option
@folder_option
@layers_option
@click.option(
    "--each", type=Count(most=MOST_SHOWN), default="5", show_default=True, callback=excludes("wanted"),
    help="Features of each kind.",
)  # fmt: skip
@click.option(
    "--features", "wanted", type=Several(Count(zero=True), "feature's number"),
    callback=excludes("each", "pillars", "correction_norm", "direction_cosine", "direction_ratio"),
    help="These features instead, by number: 3,17,255.",
)  # fmt: skip
@some_contexts_option(", to look through")
@without_model_option
@threshold_options
@seed_option
@device_option
def features_command(
    path: Location, paths: tuple[Path, ...], skip_damaged: bool,
    model: str | None, out: Path, layers: Layers, each: int,
    wanted: tuple[int, ...] | None, contexts: int | None, without_model: bool, thresholds: Thresholds, seed: int,
    device: str,
) -> None:  # fmt: skip
    """A page of features: where each is most active, samples, neighbours, and the tokens it raises and lowers.

    Pillars, directions, corrections, random, most and least frequent ones. One static file with a search.
    """
    from analyze.measure.row_pass import feature_activity
    from analyze.report.features.page import PageSettings, write_features_page

    store, chosen = opened(path, paths, skip_damaged=skip_damaged)
    fitted = chosen.runs
    hooks = choose_hooks(fitted, layers)
    check_features(store, fitted, hooks, "pillars", thresholds.pillars)
    check_features(store, fitted, hooks, "wanted", max(wanted or (0,)) + 1)
    heldout = heldout_contexts(store, contexts)
    unembedding = None if without_model else load_unembedding(store, model)
    saes = feature_activity(heldout, fitted, hooks=hooks, device=choose_device(device))
    settings = PageSettings(each, wanted or (), thresholds=thresholds, seed=seed)
    click.echo(write_features_page(out, heldout, saes, unembedding, settings))


def command_line() -> str:
    """The command that runs, to be repeated."""
    return shlex.join(["analyze", *sys.argv[1:]])
