"""The command group `analyze`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from analyze import evaluate, runs
from analyze.estimates import lines as as_lines
from analyze.fitted import FittedRun, check_store, find_runs, hooks_of
from analyze.heldout import Heldout
from analyze.tables import Row, as_csv
from data.cli import Count, StoreCommand, StoreLocation, choose_device
from data.facts import describe, store_facts
from data.location import Location
from data.reader import Store, open_store
from data.verify import verify

if TYPE_CHECKING:
    import torch

    from analyze.lm import PatchableModel

store_option = click.option(
    "--store", "path", type=StoreLocation(), required=True, help="The store, such as data/gpt2.zarr."
)
runs_argument = click.argument("paths", metavar="RUNS...", nargs=-1, required=True, type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
model_option = click.option(
    "--model", help="The language model, as `harvest --model` took it.  [default: its name in the store]"
)
contexts_option = click.option(
    "--contexts", type=Count(), default="100", show_default=True, help="Held-out contexts, of the first."
)
seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="Of the resampling, and of NSAE's noise."
)
device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
out_option = click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="A folder for CSV and PNG.")
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


@main.command("norms", cls=StoreCommand, epilog="Example: analyze norms --store data/demo.zarr --out norms")
@store_option
@click.option("--split", type=click.Choice(["train", "heldout"]), default="train", show_default=True)
@out_option
@json_option
@csv_option
def norms_command(path: Location, split: Any, out: Path | None, as_json: bool, as_csv_: bool) -> None:
    """How the activations' norms are distributed, layer by layer: Figs. 3 and 4 of the post, for any store."""
    from analyze import norms

    store = open_store(path)
    found = norms.Norms.of(store, split)
    lines, histogram = norms.norm_lines(found), norms.histogram_lines(found)
    if out is not None:
        from analyze import figures

        write_csv(out, {"norms": lines, "histogram": histogram})
        figures.save(figures.norms(lines, histogram), out / "norms.png")
    facts = {"store": store.fingerprint, "norms": lines, "histogram": histogram}
    show(facts, lines, norms.as_table(lines), as_json, as_csv_)


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
    show(rows, rows, runs.as_table(rows), as_json, as_csv_)


@main.command(
    "measures", cls=StoreCommand, epilog="Example: analyze measures --store data/demo.zarr runs/demo --contexts 200"
)
@store_option
@runs_argument
@click.option("--contexts", type=Count(), help="How many held-out contexts, of the first.  [default: all]")
@seed_option
@device_option
@json_option
@csv_option
def measures_command(
    path: Location, paths: tuple[Path, ...], contexts: int | None, seed: int, device: str, as_json: bool, as_csv_: bool
) -> None:
    """Measure runs on the store's held-out split: by layer and position, with 95 % intervals over documents."""
    store, fitted = opened(path, paths)
    heldout = Heldout(store, contexts)
    estimates, fires = evaluate.evaluate(heldout, fitted, seed=seed, device=choose_device(device))
    lines, features = as_lines(estimates, fitted), [one.line() for one in fires]
    facts = {**about(heldout), "measures": lines, "features": features}
    show(facts, lines, evaluate.as_table(lines, features), as_json, as_csv_)


@main.command(
    "patch",
    cls=StoreCommand,
    epilog="Example: analyze patch --store data/demo.zarr --model demo runs/demo --contexts 50",
)
@store_option
@runs_argument
@model_option
@contexts_option
@click.option("--batch-size", type=Count(), default="4", show_default=True, help="Contexts a forward pass.")
@click.option("--keep-first", is_flag=True, help="Leave position 0 of each context as it is.")
@seed_option
@device_option
@json_option
@csv_option
def patch_command(
    path: Location, paths: tuple[Path, ...], model: str | None, contexts: int, batch_size: int, keep_first: bool,
    seed: int, device: str, as_json: bool, as_csv_: bool,
) -> None:  # fmt: skip
    """What reconstructions cost the language model: nats lost, KL and reconstruction score, layer by layer."""
    from analyze import patching

    store, fitted = opened(path, paths)
    heldout, where = Heldout(store, contexts), choose_device(device)
    lm = load_lm(store, hooks_of(fitted), model, where)
    estimates = patching.patch(
        lm, heldout, fitted, seed=seed, keep_first=keep_first, contexts_at_once=batch_size, device=where
    )
    lines = as_lines(estimates, fitted)
    facts = {**about(heldout), "position_0": "clean" if keep_first else "patched", "measures": lines}
    show(facts, lines, patching.as_table(lines), as_json, as_csv_)


@main.command("dictionary", cls=StoreCommand, epilog="Example: analyze dictionary --store data/demo.zarr runs/demo")
@store_option
@runs_argument
@click.option("--contexts", type=Count(), help="Held-out contexts that tell live from dead.  [default: all]")
@click.option("--pillars", type=Count(), default="100", show_default=True, help="How many of the largest norms.")
@click.option("--correction-norm", type=float, default=0.5, show_default=True, help="Corrections have norms below.")
@click.option("--direction-cosine", type=float, default=0.9, show_default=True, help="Directions have a twin so alike,")
@click.option("--direction-ratio", type=float, default=1.5, show_default=True, help="and so much longer or shorter.")
@device_option
@out_option
@json_option
@csv_option
def dictionary_command(
    path: Location, paths: tuple[Path, ...], contexts: int | None, pillars: int, correction_norm: float,
    direction_cosine: float, direction_ratio: float, device: str, out: Path | None, as_json: bool,
    as_csv_: bool,
) -> None:  # fmt: skip
    """Decoder directions: norms, cosines, and the features that stand out (pillars, corrections, directions)."""
    from analyze import portrait
    from analyze.dictionary import Thresholds

    store, fitted = opened(path, paths)
    thresholds = Thresholds(pillars, correction_norm, direction_cosine, direction_ratio)
    tallies = evaluate.tallied(Heldout(store, contexts), fitted, noises=(False,), device=choose_device(device))
    portraits = [portrait.of(fires, store, thresholds) for fires, _, _ in tallies]
    lines, histograms = [one.line for one in portraits], [line for one in portraits for line in one.histograms]
    if out is not None:
        write_csv(out, {"dictionary": lines, "histograms": histograms})
    facts = {"store": store.fingerprint, "dictionary": lines, "histograms": histograms}
    show(facts, lines, portrait.as_table(lines), as_json, as_csv_)


@main.command(
    "pareto", cls=StoreCommand, epilog="Example: analyze pareto --store data/demo.zarr runs/demo --out pareto"
)
@store_option
@runs_argument
@model_option
@contexts_option
@click.option("--without-model", is_flag=True, help="Leave out what needs the language model: nats lost, KL, score.")
@out_option
@seed_option
@device_option
@json_option
@csv_option
def pareto_command(
    path: Location, paths: tuple[Path, ...], model: str | None, contexts: int, without_model: bool, out: Path | None,
    seed: int, device: str, as_json: bool, as_csv_: bool,
) -> None:  # fmt: skip
    """Compare families of runs (that differ in α alone) at the same L0, layer by layer, with 95 % intervals."""
    from analyze import pareto

    store, fitted = opened(path, paths)
    heldout, where = Heldout(store, contexts), choose_device(device)
    lm = None if without_model else load_lm(store, hooks_of(fitted), model, where)
    found = [evaluate.evaluate(heldout, fitted, seed=seed, device=where)[0]]
    if lm is not None:
        from analyze import patching

        found.append(patching.patch(lm, heldout, fitted, seed=seed, device=where))
    points = [line for estimates in found for line in pareto.curve_lines(estimates, fitted)]
    matched = [pareto.matched(estimates, fitted) for estimates in found]
    compared = [line for lines in matched for line in lines]
    if out is not None:
        write_pareto(out, points, compared)
    facts = {**about(heldout), "points": points, "matched": compared}
    show(facts, compared, "\n\n".join(map(pareto.as_table, matched)), as_json, as_csv_)


def opened(path: Location, paths: Sequence[Path]) -> tuple[Store, list[FittedRun]]:
    """A store, and runs that were trained on it. Raises InputError where they were not."""
    store, fitted = open_store(path), find_runs(paths)
    check_store(fitted, store)
    return store, fitted


def show(facts: Any, lines: Sequence[Row], table: str, as_json: bool, as_csv_: bool) -> None:
    """Print the facts as JSON, or the lines as CSV, or the table."""
    click.echo(json.dumps(facts, indent=2) if as_json else as_csv(lines).rstrip() if as_csv_ else table)


def load_lm(store: Store, hooks: Sequence[str], model: str | None, device: torch.device) -> PatchableModel:
    from analyze.lm import load_for_store  # the model's libraries take seconds to import

    return load_for_store(store, hooks, model=model, device=device)


def write_pareto(out: Path, points: Sequence[Row], compared: Sequence[Row]) -> None:
    """points.csv, matched.csv, and a PNG for each measure."""
    from analyze import figures

    write_csv(out, {"points": points, "matched": compared})
    for measure in dict.fromkeys(line["measure"] for line in points):
        figures.save(figures.pareto(points, measure), out / f"{measure}.png")


def write_csv(out: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """NAME.csv for each table, in a folder that is made."""
    out.mkdir(parents=True, exist_ok=True)
    for name, lines in tables.items():
        (out / f"{name}.csv").write_text(as_csv(lines))


def about(heldout: Heldout) -> dict[str, Any]:
    """What the measures of a JSON answer were taken on."""
    return {
        "store": heldout.store.fingerprint, "contexts": heldout.n_contexts, "rows": heldout.n_rows(),
        "resampled": heldout.unit, "groups": heldout.n_groups,
    }  # fmt: skip
