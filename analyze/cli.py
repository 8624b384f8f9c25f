"""The command group `analyze`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from tqdm import tqdm

from analyze import evaluate, runs
from analyze.fitted import check_store, find_runs
from analyze.heldout import Heldout
from analyze.tables import as_csv
from data.cli import Count, StoreCommand, StoreLocation, choose_device
from data.facts import describe, store_facts
from data.location import Location
from data.reader import open_store
from data.verify import verify

store_option = click.option(
    "--store", "path", type=StoreLocation(), required=True, help="The store, such as data/gpt2.zarr."
)
runs_argument = click.argument("paths", metavar="RUNS...", nargs=-1, required=True, type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
csv_option = click.option("--csv", "as_csv_", is_flag=True, help="Print CSV.")


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
@runs_argument
@json_option
@csv_option
def runs_command(paths: tuple[Path, ...], as_json: bool, as_csv_: bool) -> None:
    """What runs came to on the held-out split, by layer; for NSAE with noise off / on."""
    rows = [row for run in find_runs(paths) for row in runs.last_measures(run)]
    click.echo(json.dumps(rows, indent=2) if as_json else as_csv(rows).rstrip() if as_csv_ else runs.as_table(rows))


@main.command(
    "measures", cls=StoreCommand, epilog="Example: analyze measures --store data/demo.zarr runs/demo --contexts 200"
)
@store_option
@runs_argument
@click.option("--contexts", type=Count(), help="How many held-out contexts, of the first.  [default: all]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resampling, and of NSAE's noise.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@json_option
@csv_option
def measures_command(
    path: Location, paths: tuple[Path, ...], contexts: int | None, seed: int, device: str, as_json: bool, as_csv_: bool
) -> None:
    """Measure runs on the store's held-out split: by layer and position, with 95 % intervals over documents."""
    store, fitted = open_store(path), find_runs(paths)
    check_store(fitted, store)
    heldout = Heldout(store, contexts)
    lines, features = evaluate.evaluate(heldout, fitted, seed=seed, device=choose_device(device))
    if as_json:
        about = {"store": store.fingerprint, "rows": heldout.n_rows(), "resampled": heldout.unit,
                 "groups": heldout.n_groups}  # fmt: skip
        click.echo(json.dumps({**about, "measures": lines, "features": features}, indent=2))
    else:
        click.echo(as_csv(lines).rstrip() if as_csv_ else evaluate.as_table(lines, features))
