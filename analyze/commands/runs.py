"""Commands that look at runs without the language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from analyze.commands.shared import (
    about,
    check_features,
    choose_hooks,
    command,
    csv_option,
    device_option,
    heldout_contexts,
    json_option,
    layers_option,
    opened,
    out_option,
    runs_argument,
    seed_option,
    show,
    some_contexts_option,
    store_option,
    threshold_options,
    write_csv,
)
from data.cli import choose_device
from data.errors import InputError
from data.location import Location
from data.options import Layers

if TYPE_CHECKING:
    from analyze.dictionary import Thresholds


@command("runs", "runs runs/demo")
@runs_argument
@json_option
@csv_option
def runs_command(paths: tuple[Path, ...], as_json: bool, as_csv_: bool) -> None:
    """What runs came to on the held-out split, by layer; for NSAE with noise off / on."""
    from analyze import runs
    from analyze.fitted import find_runs

    rows = [row for run in find_runs(paths) for row in runs.last_measures(run)]
    show(rows, rows, runs.as_table(rows), as_json, as_csv_)


@command("measures", "measures --store data/demo.zarr runs/demo --contexts 200")
@store_option
@runs_argument
@some_contexts_option()
@seed_option
@device_option
@json_option
@csv_option
def measures_command(
    path: Location, paths: tuple[Path, ...], contexts: int | None, seed: int, device: str, as_json: bool, as_csv_: bool
) -> None:
    """Measure runs on the store's held-out split: by layer and position, with 95 % intervals over documents."""
    from analyze import evaluate
    from analyze.estimates import lines as as_lines

    store, fitted = opened(path, paths)
    heldout = heldout_contexts(store, contexts)
    estimates, fires = evaluate.evaluate(heldout, fitted, seed=seed, device=choose_device(device))
    lines, features = as_lines(estimates, fitted), [line for one in fires for line in one.lines()]
    facts = {**about(heldout), "measures": lines, "features": features}
    show(facts, lines, evaluate.as_table(lines, features), as_json, as_csv_)


@command("dictionary", "dictionary --store data/demo.zarr runs/demo")
@store_option
@runs_argument
@some_contexts_option(", that tell live from dead")
@threshold_options
@device_option
@out_option
@json_option
@csv_option
def dictionary_command(
    path: Location, paths: tuple[Path, ...], contexts: int | None, thresholds: Thresholds, device: str,
    out: Path | None, as_json: bool, as_csv_: bool,
) -> None:  # fmt: skip
    """Decoder directions: norms, cosines, and the features that stand out (pillars, corrections, directions)."""
    from analyze import evaluate, portrait

    store, fitted = opened(path, paths)
    check_features(store, fitted, store.hooks, "pillars", thresholds.pillars)
    tallies = evaluate.tallied(heldout_contexts(store, contexts), fitted, noises=(False,), device=choose_device(device))
    portraits = [portrait.of(fires, store, thresholds) for fires, _, _ in tallies]
    lines, histograms = [one.line for one in portraits], [line for one in portraits for line in one.histograms]
    if out is not None:
        write_csv(out, {"dictionary": lines, "histograms": histograms})
    facts = {"store": store.fingerprint, "dictionary": lines, "histograms": histograms}
    show(facts, lines, portrait.as_table(lines), as_json, as_csv_)


@command("stability", "stability --store data/demo.zarr runs/seeds --layers 5")
@store_option
@runs_argument
@layers_option
@some_contexts_option(", that tell live from dead")
@device_option
@json_option
@csv_option
def stability_command(
    path: Location, paths: tuple[Path, ...], layers: Layers, contexts: int | None, device: str, as_json: bool,
    as_csv_: bool,
) -> None:  # fmt: skip
    """Whether runs find the same features: every two of them, live directions matched one to one (Hungarian)."""
    from analyze import evaluate, stability

    store, fitted = opened(path, paths)
    if len(fitted) < 2:
        raise InputError(f"{paths[0]} is one run; give two or more to compare")
    hooks = choose_hooks(fitted, layers)
    tallies = evaluate.tallied(
        heldout_contexts(store, contexts), fitted, hooks=hooks, noises=(False,), device=choose_device(device)
    )
    lines = stability.stability([fires for fires, _, _ in tallies])
    show({"store": store.fingerprint, "stability": lines}, lines, stability.as_table(lines), as_json, as_csv_)
