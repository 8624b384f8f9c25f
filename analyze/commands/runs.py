"""Commands that look at runs without the language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from analyze.commands.shared import (
    about,
    about_runs,
    check_contexts,
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
    skip_option,
    some_contexts_option,
    store_option,
    threshold_options,
    told,
    write_csv,
)
from analyze.runs.progress import usable, with_progress
from data.command.base import choose_device
from data.command.option_types import Layers
from data.errors import InputError
from data.system.location import Location

if TYPE_CHECKING:
    from analyze.measure.dictionary import Thresholds


@command("runs", "runs runs/demo")
@runs_argument
@json_option
@csv_option
def runs_command(paths: tuple[Path, ...], as_json: bool, as_csv_: bool) -> None:
    """What runs came to on the held-out split, by layer; for NSAE with noise off / on."""
    from analyze.runs import recorded
    from analyze.runs.trained_run import find_runs

    chosen = told(recorded.validated(usable(find_runs(paths), weights=False)))
    rows = [row for run in chosen.runs for row in recorded.last_measures(run)]
    show(rows, rows, recorded.as_table(rows), as_json, as_csv_)


@command("measures", "measures --store data/demo.zarr runs/demo --contexts 50")
@store_option
@runs_argument
@skip_option
@some_contexts_option()
@seed_option
@device_option
@json_option
@csv_option
def measures_command(
    path: Location,
    paths: tuple[Path, ...],
    skip_damaged: bool,
    contexts: int | None,
    seed: int,
    device: str,
    as_json: bool,
    as_csv_: bool,
) -> None:
    """Measure runs on the store's held-out split: by layer and position, with 95 % intervals over documents."""
    from analyze.measure.evaluate import as_table, evaluate

    store, chosen = opened(path, paths, skip_damaged=skip_damaged)
    check_contexts(store, contexts, "contexts")
    result = evaluate(store, chosen.runs, contexts=contexts, seed=seed, device=choose_device(device))
    lines = [dict(vars(row)) for row in result.measures]
    features = [line for activity in result.activity for line in activity.lines()]
    facts = {**about(result.heldout), **about_runs(chosen), "measures": lines, "features": features}
    rows = with_progress(lines, chosen.runs)
    show(facts, rows, as_table(rows, features), as_json, as_csv_)


@command("dictionary", "dictionary --store data/demo.zarr runs/demo")
@store_option
@runs_argument
@skip_option
@some_contexts_option(", that tell live from dead")
@threshold_options
@device_option
@out_option
@json_option
@csv_option
def dictionary_command(
    path: Location, paths: tuple[Path, ...], skip_damaged: bool,
    contexts: int | None, thresholds: Thresholds, device: str,
    out: Path | None, as_json: bool, as_csv_: bool,
) -> None:  # fmt: skip
    """Decoder directions: norms, cosines, and the features that stand out (pillars, corrections, directions)."""
    from analyze.measure import dictionary_summary
    from analyze.measure.row_pass import feature_activity

    store, chosen = opened(path, paths, skip_damaged=skip_damaged)
    fitted = chosen.runs
    check_features(store, fitted, store.hooks, "pillars", thresholds.pillars)
    activity = feature_activity(heldout_contexts(store, contexts), fitted, device=choose_device(device))
    summaries = [dictionary_summary.summarize_dictionary(one, store, thresholds) for one in activity]
    lines, histograms = [one.line for one in summaries], [line for one in summaries for line in one.histograms]
    rows = with_progress(lines, fitted)
    if out is not None:
        write_csv(out, {"dictionary": rows, "histograms": histograms})
    facts = {"store": store.fingerprint, **about_runs(chosen), "dictionary": lines, "histograms": histograms}
    show(facts, rows, dictionary_summary.as_table(rows), as_json, as_csv_)


@command("stability", "stability --store data/demo.zarr runs/seeds --layers 5")
@store_option
@runs_argument
@skip_option
@layers_option
@some_contexts_option(", that tell live from dead")
@device_option
@json_option
@csv_option
def stability_command(
    path: Location, paths: tuple[Path, ...], skip_damaged: bool,
    layers: Layers, contexts: int | None, device: str, as_json: bool,
    as_csv_: bool,
) -> None:  # fmt: skip
    """Whether runs find the same features: every two of them, live directions matched one to one (Hungarian)."""
    from analyze.measure import stability
    from analyze.measure.row_pass import feature_activity

    store, chosen = opened(path, paths, skip_damaged=skip_damaged)
    fitted = chosen.runs
    if len(fitted) < 2:
        raise InputError(f"{fitted[0].folder.path} is one run; give two or more to compare")
    hooks = choose_hooks(fitted, layers)
    activity = feature_activity(heldout_contexts(store, contexts), fitted, hooks=hooks, device=choose_device(device))
    lines = stability.stability(activity)
    facts = {"store": store.fingerprint, **about_runs(chosen), "stability": lines}
    rows = with_progress(lines, fitted)
    show(facts, rows, stability.as_table(rows), as_json, as_csv_)
