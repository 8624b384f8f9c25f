"""The command group `analyze`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from tqdm import tqdm

from analyze.runs import as_csv, as_table, find_runs, last_measures
from data.cli import StoreCommand, StoreLocation
from data.facts import describe, store_facts
from data.location import Location
from data.reader import open_store
from data.verify import verify

store_option = click.option(
    "--store", "path", type=StoreLocation(), required=True, help="The store, such as data/gpt2.zarr."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def main() -> None:
    """Look at activation stores, and at runs trained on them."""


@main.command("store", cls=StoreCommand, epilog="Example: analyze store --store data/demo.zarr")
@store_option
@json_option
def store_command(path: Location, as_json: bool) -> None:
    """What a store holds: sizes, norms by hook, how well its stream mixes."""
    facts = store_facts(open_store(path))
    click.echo(json.dumps(facts, indent=2) if as_json else describe(facts))


@main.command("verify", cls=StoreCommand, epilog="Example: analyze verify --store data/demo.zarr")
@store_option
@json_option
def verify_command(path: Location, as_json: bool) -> None:
    """Compare every file of a store with its checksum; exit 1 where one fails, naming it."""
    problems, checked = [], 0
    for problem in tqdm(verify(open_store(path)), desc="verifying", unit="file"):
        checked += 1
        if problem is not None:
            problems.append(problem)
    if as_json:
        found = [{"file": problem.file, "problem": problem.what} for problem in problems]
        click.echo(json.dumps({"files_checked": checked, "problems": found}, indent=2))
    else:
        for problem in problems:
            click.echo(f"{problem.file}: {problem.what}")
        click.echo(f"{checked} files checked, {len(problems)} damaged")
    sys.exit(1 if problems else 0)


@main.command("runs", cls=StoreCommand, epilog="Example: analyze runs runs/demo")
@click.argument("paths", metavar="RUNS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
@click.option("--csv", "as_csv_", is_flag=True, help="Print CSV.")
def runs_command(paths: tuple[Path, ...], as_json: bool, as_csv_: bool) -> None:
    """What runs came to on the held-out split, by layer; for NSAE with noise off / on."""
    rows = [row for run in find_runs(paths) for row in last_measures(run)]
    click.echo(json.dumps(rows, indent=2) if as_json else as_csv(rows).rstrip() if as_csv_ else as_table(rows))
