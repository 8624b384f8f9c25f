"""Commands that read a store without runs, and `verify`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyze.commands.options import (
    StoreChoice,
    command,
    csv_option,
    json_option,
    layers_option,
    out_option,
    store_options,
)
from analyze.commands.shared import show
from data.command.json_text import json_text
from data.command.layer_choice import Layers
from data.command.option_types import LocalPath, OutputFolder, StoreLocation
from data.errors import InputError
from data.system.location import Location, write_file

if TYPE_CHECKING:
    from data.store.verify import Problem


@command("store", "store --store data/demo.zarr")
@store_options
@json_option
def store_command(choice: StoreChoice, as_json: bool) -> None:
    """Print what a store holds: sizes, norms per hook, and how well its stream is shuffled."""
    from data.summary import summarize
    from data.summary_text import summary_text

    summary = summarize(choice.open())
    click.echo(json_text(asdict(summary)) if as_json else summary_text(summary))


@command("norms", "norms --store data/demo.zarr --out norms")
@store_options
@click.option("--split", type=click.Choice(["train", "heldout"]), default="train", show_default=True,
              help="Split of the store to use.")  # fmt: skip
@out_option
@json_option
@csv_option
def norms_command(choice: StoreChoice, split: Any, out: Path | None, as_json: bool, as_csv_: bool) -> None:
    """Print the distribution of activation norms per layer, as in Figs. 3 and 4 of the post."""
    from analyze.measure import norms

    store = choice.open()
    distributions = norms.Norms.of(store, split)
    rows, histogram = norms.norm_rows(distributions), norms.norm_bin_rows(distributions)
    if out is not None:
        from analyze.report.data import write_csv
        from analyze.report.figures import norms as norms_figure
        from analyze.report.figures.style import as_png

        write_csv(out, {"norms": rows, "histogram": histogram})
        write_file(out / "norms.png", as_png(norms_figure.norms(rows, histogram)))
    answer = {"store": store.fingerprint, "norms": rows, "histogram": histogram}
    show(answer, rows, norms.as_table(rows), as_json, as_csv_)


@command("export", "export --store data/demo.zarr --to saelens --out cached")
@store_options
@click.option(
    "--to", type=click.Choice(["saelens"]), required=True,
    help="saelens: datasets as its CacheActivationsRunner writes them, which its ActivationsStore loads.",
)  # fmt: skip
@click.option(
    "--split", type=click.Choice(["train", "heldout", "all"]), default="train", show_default=True,
    help="Contexts to write: those for training, the held-out ones, or all.",
)  # fmt: skip
@layers_option
@click.option("--out", type=OutputFolder(), required=True, help="Folder to write into: a dataset per hook.")
def export_command(choice: StoreChoice, to: str, split: Any, layers: Layers, out: Path) -> None:
    """Write the activations of a store as another library reads them.

    Writes float16 if the store has it, else float32; token ids come with them unless they are unknown.
    """
    from harvest.arrays.export import export_activations

    store = choice.open()
    hooks = layers.choose_hooks(store.hooks, "the store")
    for folder in export_activations(store, out, hooks=hooks, split=split):
        click.echo(folder)


@command("verify", "verify --store data/demo.zarr runs/demo")
@click.argument("paths", metavar="[RUNS]...", nargs=-1, type=LocalPath())
@click.option("--store", "path", type=StoreLocation(), help="The store to check, such as data/gpt2.zarr.")
@json_option
def verify_command(paths: tuple[Path, ...], path: Location | None, as_json: bool) -> None:
    """Check every file of a store and of runs against its checksum.

    Names each damaged file; exits with 1 if there is one.
    """
    from data.command.progress import Bar

    if path is None and not paths:
        raise InputError("verify: name what to check: --store, or the folders of runs")
    results = check_files(path, paths)
    problems, checked = [], 0
    for problem in Bar(results, desc="verifying", unit="file"):
        checked += 1
        if problem is not None:
            problems.append(problem)
    if as_json:
        lines = [{"file": problem.file, "problem": problem.what} for problem in problems]
        click.echo(json_text({"files_checked": checked, "problems": lines}))
    else:
        for problem in problems:
            click.echo(f"{problem.file}: {problem.what}")
        click.echo(f"{checked} files checked, {len(problems)} damaged")
    sys.exit(1 if problems else 0)


def check_files(path: Location | None, runs: Sequence[Path]) -> Iterator[Problem | None]:
    """Check a store and runs, file by file; yield the problem of each file, or None.

    Raises InputError at once if the store or a run does not exist.
    """
    from data.store import verify as stores
    from train.output import verify

    parts = [*([] if path is None else [stores.verify(path)]), *(verify.verify(run) for run in runs)]
    begun = [(list(islice(part, 1)), part) for part in parts]  # the first file of each, before the rest of any
    return chain.from_iterable(chain(first, rest) for first, rest in begun)
