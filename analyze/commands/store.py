"""Commands that look at a store alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyze.commands.shared import command, csv_option, json_option, out_option, show, store_option, write_csv
from data.command.json_text import json_text
from data.command.option_types import LocalPath, StoreLocation
from data.errors import InputError
from data.system.location import Location, write_file

if TYPE_CHECKING:
    from data.store.verify import Problem


@command("store", "store --store data/demo.zarr")
@store_option
@json_option
def store_command(path: Location, as_json: bool) -> None:
    """What a store holds: sizes, norms by hook, how well its stream mixes."""
    from data.store.reader import open_store
    from data.summary import summarize
    from data.summary_text import summary_text

    summary = summarize(open_store(path))
    click.echo(json_text(asdict(summary)) if as_json else summary_text(summary))


@command("norms", "norms --store data/demo.zarr --out norms")
@store_option
@click.option("--split", type=click.Choice(["train", "heldout"]), default="train", show_default=True)
@out_option
@json_option
@csv_option
def norms_command(path: Location, split: Any, out: Path | None, as_json: bool, as_csv_: bool) -> None:
    """How the activations' norms are distributed, layer by layer: Figs. 3 and 4 of the post, for any store."""
    from analyze.measure import norms
    from data.store.reader import open_store

    store = open_store(path)
    found = norms.Norms.of(store, split)
    lines, histogram = norms.norm_lines(found), norms.histogram_lines(found)
    if out is not None:
        from analyze.report.figures import norms as drawn
        from analyze.report.figures.style import as_png

        write_csv(out, {"norms": lines, "histogram": histogram})
        write_file(out / "norms.png", as_png(drawn.norms(lines, histogram)))
    facts = {"store": store.fingerprint, "norms": lines, "histogram": histogram}
    show(facts, lines, norms.as_table(lines), as_json, as_csv_)


@command("verify", "verify --store data/demo.zarr runs/demo")
@click.argument("paths", metavar="[RUNS]...", nargs=-1, type=LocalPath())
@click.option("--store", "path", type=StoreLocation(), help="The store, such as data/gpt2.zarr.")
@json_option
def verify_command(paths: tuple[Path, ...], path: Location | None, as_json: bool) -> None:
    """Compare every file of a store, and of runs, with its checksum; exit 1 where one fails, naming it."""
    from data.command.progress import Bar

    if path is None and not paths:
        raise InputError("verify: name what to check: --store, or the folders of runs")
    results = _problems(path, paths)
    problems, checked = [], 0
    for problem in Bar(results, desc="verifying", unit="file"):
        checked += 1
        if problem is not None:
            problems.append(problem)
    if as_json:
        found = [{"file": problem.file, "problem": problem.what} for problem in problems]
        click.echo(json_text({"files_checked": checked, "problems": found}))
    else:
        for problem in problems:
            click.echo(f"{problem.file}: {problem.what}")
        click.echo(f"{checked} files checked, {len(problems)} damaged")
    sys.exit(1 if problems else 0)


def _problems(path: Location | None, runs: Sequence[Path]) -> Iterator[Problem | None]:
    """What is found in a store and in runs. Raises InputError at once where one of them is not there."""
    from data.store import verify as stores
    from train.output import verify

    parts = [*([] if path is None else [stores.verify(path)]), *(verify.verify(run) for run in runs)]
    begun = [(list(islice(part, 1)), part) for part in parts]  # the first file of each, before the rest of any
    return chain.from_iterable(chain(first, rest) for first, rest in begun)
