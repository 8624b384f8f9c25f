"""Commands that write pages: the report, and features to look at."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analyze.commands.shared import (
    choose_hooks,
    command,
    device_option,
    keep_first_option,
    layers_option,
    load_lens,
    load_lm,
    model_option,
    opened,
    runs_argument,
    seed_option,
    some_contexts_option,
    store_option,
    threshold_options,
)  # fmt: skip
from data.cli import choose_device
from data.errors import InputError
from data.location import Location
from data.options import Count, Layers, OutputFolder, Text

if TYPE_CHECKING:
    from analyze.dictionary import Thresholds
    from analyze.evaluate import Fires
    from analyze.fitted import FittedRun

without_model_option = click.option(
    "--without-model", is_flag=True, help="Leave out what needs the language model; tokens are then numbers."
)
folder_option = click.option("--out", type=OutputFolder(), required=True, help="The folder to write.")


@command("report", "report --store data/demo.zarr --model demo runs/demo --out report")
@store_option
@runs_argument
@model_option
@folder_option
@some_contexts_option(", for measures without the model", "--held-out")
@click.option("--contexts", type=Count(), default="100", show_default=True, help="And for those with it.")
@click.option(
    "--snapshot-contexts", type=Count(zero=True), default=12, show_default=True,
    help="And for those over training, of all snapshots; 0 leaves them out.",
)  # fmt: skip
@click.option(
    "--features", type=Count(zero=True), default=5, show_default=True,
    help="Features of each kind to show, of a run of each family in its middle layer; 0: no page of them.",
)  # fmt: skip
@without_model_option
@keep_first_option
@threshold_options
@seed_option
@device_option
def report_command(
    path: Location, paths: tuple[Path, ...], model: str | None, out: Path, held_out: int | None, contexts: int,
    snapshot_contexts: int, features: int, without_model: bool, keep_first: bool, thresholds: Thresholds, seed: int,
    device: str,
) -> None:  # fmt: skip
    """Everything of some runs in one HTML file: claims, figures, tables, how to repeat it; and its data beside it."""
    from analyze import feature_page, report
    from analyze.fitted import hooks_of
    from analyze.kept import Kept
    from analyze.results import Scope, gather

    store, fitted = opened(path, paths)
    fitted.sort(key=lambda run: (run.variant, run.l1))
    where = choose_device(device)
    lm = None if without_model else load_lm(store, hooks_of(fitted), model, where)
    lens = None if without_model or not features else load_lens(store, model)
    kept = Kept(out / "measured")
    scope = Scope(held_out, contexts, snapshot_contexts, seed, keep_first)
    results = gather(store, fitted, lm, scope, thresholds=thresholds, device=where, kept=kept)
    if features:
        several = representatives(results.fires, results.evidence.families)
        feature_page.write(
            out, results.heldout, several, lens, thresholds, feature_page.Amount(features), seed=seed, report=True
        )
    report.write(results, out, command_line(), features=features > 0)
    kept.clear()
    click.echo(f"{out / 'index.html'}")


@command("features", "features --store data/demo.zarr --model demo runs/demo/nsae --layers 2 --out features")
@store_option
@runs_argument
@model_option
@folder_option
@layers_option
@click.option("--each", type=Count(), default="5", show_default=True, help="Features of each kind.")
@click.option("--features", "wanted", type=Text("numbers"), help="These features instead, by number: 3,17,255.")
@some_contexts_option(", to look through")
@without_model_option
@threshold_options
@seed_option
@device_option
def features_command(
    path: Location, paths: tuple[Path, ...], model: str | None, out: Path, layers: Layers, each: int,
    wanted: str | None, contexts: int | None, without_model: bool, thresholds: Thresholds, seed: int, device: str,
) -> None:  # fmt: skip
    """A page of features: where each is most active, samples, neighbours, and the tokens it raises and lowers.

    Pillars, directions, corrections, random, most and least frequent ones. One static file with a search.
    """
    from analyze import evaluate, feature_page
    from analyze.heldout import Heldout

    store, fitted = opened(path, paths)
    hooks, numbers = choose_hooks(fitted, layers), parse_features(wanted)
    heldout, lens = Heldout(store, contexts), None if without_model else load_lens(store, model)
    tallies = evaluate.tallied(heldout, fitted, hooks=hooks, noises=(False,), device=choose_device(device))
    several = [fires for fires, _, _ in tallies]
    for one in several:
        if numbers and max(numbers) >= len(one.all.count):
            raise InputError(f"--features {wanted}: {one.run.name} has {len(one.all.count)} features, from 0 on")
    feature_page.write(out, heldout, several, lens, thresholds, feature_page.Amount(each), numbers, seed=seed)
    click.echo(f"{out / 'features.html'}")


def parse_features(text: str | None) -> list[int] | None:
    """`3,17,255`. Raises InputError."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise InputError(f"--features {text}: give numbers with commas between them, such as 3,17,255")
    return [int(part) for part in parts]


def representatives(fires: Sequence[Fires], families: Mapping[str, Sequence[FittedRun]]) -> list[Fires]:
    """Of each family the run in the middle of its α, and of that the SAE in the middle of its layers, noise off."""
    found = []
    for several in families.values():
        run = sorted(several, key=lambda run: run.l1)[len(several) // 2]
        mine = [one for one in fires if one.run.name == run.name and not one.noise]
        found.append(mine[len(mine) // 2])
    return found


def command_line() -> str:
    """The command that runs, to be repeated."""
    return shlex.join(["analyze", *sys.argv[1:]])
