"""Commands that measure runs without the language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from analyze.commands.options import (
    StoreChoice,
    command,
    contexts_option,
    csv_option,
    device_option,
    json_option,
    layers_option,
    libraries_option,
    out_option,
    runs_argument,
    seed_option,
    skip_option,
    store_options,
    threshold_options,
)
from analyze.commands.shared import (
    check_contexts,
    check_features,
    choose_hooks,
    describe_heldout,
    describe_runs,
    heldout_contexts,
    note_left_out,
    open_store_and_runs,
    show,
)
from analyze.runs.progress import trained_on, usable, with_progress
from data.command.base import choose_device
from data.command.layer_choice import Layers
from data.errors import InputError

if TYPE_CHECKING:
    from analyze.measure.dictionary import Thresholds


@command("runs", "runs runs/demo")
@runs_argument
@json_option
@csv_option
def runs_command(paths: tuple[Path, ...], as_json: bool, as_csv_: bool) -> None:
    """Print the final held-out measures of runs, as training recorded them.

    One row per layer and run; for NSAE with the noise off / on.
    """
    from analyze.runs import recorded
    from analyze.runs.trained_run import find_runs

    usable_runs = note_left_out(recorded.validated(usable(find_runs(paths), weights=False)))
    rows = [row for run in usable_runs.runs for row in recorded.last_measures(run)]
    show(rows, rows, recorded.as_table(rows), as_json, as_csv_)


@command("measures", "measures --store data/demo.zarr runs/demo --contexts 50")
@store_options
@runs_argument
@skip_option
@contexts_option("to measure on")
@libraries_option
@seed_option
@device_option
@json_option
@csv_option
def measures_command(
    choice: StoreChoice, paths: tuple[Path, ...], skip_damaged: bool, contexts: int | None,
    libraries: tuple[str, ...], seed: int, device: str, as_json: bool, as_csv_: bool,
) -> None:  # fmt: skip
    """Measure runs on the store's held-out split.

    Prints measures per layer, with 95 % intervals over documents; --json and --csv have them per position, too.
    """
    from analyze.compare import targets
    from analyze.measure.evaluate import as_table, evaluate
    from analyze.translation.translate import as_table as translated_table
    from analyze.translation.translate import translate_rows

    store, usable_runs = open_store_and_runs(choice, paths, skip_damaged=skip_damaged)
    check_contexts(store, contexts, "contexts")
    runs, torch_device = usable_runs.runs, choose_device(device)
    result = evaluate(store, runs, contexts=contexts, seed=seed, device=torch_device)
    translated = translate_rows(result.heldout, runs, libraries, seed=seed, device=torch_device)
    measures = [*result.measures, *translated]
    features = [row for sae in result.activity for row in sae.feature_rows()]
    target_rows = targets.target_rows(result.measures, runs)
    answer = {
        **describe_heldout(result.heldout), **describe_runs(usable_runs), "measures": measures, "features": features,
        "targets": target_rows,
    }  # fmt: skip
    tables = [
        as_table(result.measures, features, trained_on(runs)),
        translated_table(translated, libraries) if libraries else "", targets.as_table(target_rows),
        result.heldout.groups_sentence(),
    ]  # fmt: skip
    show(answer, with_progress(measures, runs), "\n\n".join(filter(None, tables)), as_json, as_csv_)


@command("dictionary", "dictionary --store data/demo.zarr runs/demo")
@store_options
@runs_argument
@skip_option
@contexts_option("in which a feature must fire to count as live")
@threshold_options
@device_option
@out_option
@json_option
@csv_option
def dictionary_command(
    choice: StoreChoice, paths: tuple[Path, ...], skip_damaged: bool,
    contexts: int | None, thresholds: Thresholds, device: str,
    out: Path | None, as_json: bool, as_csv_: bool,
) -> None:  # fmt: skip
    """Summarise the decoder directions of runs.

    Prints norms, cosines, and how many features are pillars, corrections and directions.
    """
    from analyze.measure import dictionary_summary
    from analyze.measure.row_pass import feature_activity

    store, usable_runs = open_store_and_runs(choice, paths, skip_damaged=skip_damaged)
    runs = usable_runs.runs
    check_features(store, runs, store.hooks, "pillars", thresholds.pillars)
    activity = feature_activity(heldout_contexts(store, contexts), runs, device=choose_device(device))
    summaries = [dictionary_summary.summarize_dictionary(sae, store, thresholds) for sae in activity]
    rows = [summary.row for summary in summaries]
    histograms = [row for summary in summaries for row in summary.histograms]
    if out is not None:
        from analyze.report.data import write_csv

        write_csv(out, {"dictionary": with_progress(rows, runs), "histograms": histograms})
    answer = {"store": store.fingerprint, **describe_runs(usable_runs), "dictionary": rows, "histograms": histograms}
    show(answer, with_progress(rows, runs), dictionary_summary.as_table(rows, trained_on(runs)), as_json, as_csv_)


@command("stability", "stability --store data/demo.zarr runs/seeds --layers 5")
@store_options
@runs_argument
@skip_option
@layers_option
@contexts_option("in which a feature must fire to count as live")
@device_option
@json_option
@csv_option
def stability_command(
    choice: StoreChoice, paths: tuple[Path, ...], skip_damaged: bool,
    layers: Layers, contexts: int | None, device: str, as_json: bool,
    as_csv_: bool,
) -> None:  # fmt: skip
    """Compare the features that runs find.

    For every two runs, matches the directions of live features one to one so that their cosines are largest.
    """
    from analyze.measure import stability
    from analyze.measure.row_pass import feature_activity

    store, usable_runs = open_store_and_runs(choice, paths, skip_damaged=skip_damaged)
    runs = usable_runs.runs
    if len(runs) < 2:
        raise InputError(f"{runs[0].folder.path} is one run; give two or more to compare")
    hooks = choose_hooks(runs, layers)
    activity = feature_activity(heldout_contexts(store, contexts), runs, hooks=hooks, device=choose_device(device))
    rows = stability.stability(activity)
    answer = {"store": store.fingerprint, **describe_runs(usable_runs), "stability": rows}
    show(answer, with_progress(rows, runs), stability.as_table(rows, trained_on(runs)), as_json, as_csv_)
