"""Commands that measure what reconstructions cost the language model."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import click

from analyze.commands.options import (
    StoreChoice,
    command,
    contexts_option,
    csv_option,
    device_option,
    json_option,
    keep_first_option,
    libraries_option,
    model_option,
    out_option,
    runs_argument,
    seed_option,
    skip_option,
    store_options,
)
from analyze.commands.shared import describe_heldout, describe_runs, heldout_contexts, open_store_and_runs, show
from analyze.runs.progress import trained_on, with_progress
from data.command.base import choose_device
from data.command.option_types import Count, excludes, is_given
from data.errors import InputError


@command("patch", "patch --store data/demo.zarr --model demo runs/demo --contexts 50")
@store_options
@runs_argument
@skip_option
@model_option
@contexts_option("to run the language model on", default="100")
@click.option(
    "--batch-size", type=Count(), default="4", show_default=True,
    help="Number of contexts per forward pass of the language model.",
)  # fmt: skip
@keep_first_option
@libraries_option
@seed_option
@device_option
@json_option
@csv_option
def patch_command(
    choice: StoreChoice, paths: tuple[Path, ...], skip_damaged: bool,
    model: str | None, contexts: int, batch_size: int, keep_first: bool,
    libraries: tuple[str, ...], seed: int, device: str, as_json: bool, as_csv_: bool,
) -> None:  # fmt: skip
    """Measure what reconstructions cost the language model.

    Prints nats lost, KL divergence and reconstruction score per layer, with 95 % intervals.
    """
    from analyze.measure.patching import patch as patching
    from analyze.measure.patching.model import load_for_store
    from analyze.runs.trained_run import all_hooks
    from analyze.statistics.estimates import measure_rows
    from analyze.translation.translate import as_table as translated_table
    from analyze.translation.translate import translate_losses

    store, usable = open_store_and_runs(choice, paths, skip_damaged=skip_damaged)
    runs = usable.runs
    heldout, torch_device = heldout_contexts(store, contexts), choose_device(device)
    if is_given(click.get_current_context(), "batch_size") and batch_size > heldout.n_contexts:
        raise InputError(f"--batch-size {batch_size:,}: is more than the {heldout.n_contexts} contexts; give less")
    language_model = load_for_store(store, all_hooks(runs), model=model, device=torch_device)
    estimates = patching.patch(
        language_model, heldout, runs, seed=seed, keep_first=keep_first, contexts_at_once=batch_size,
        device=torch_device,
    )  # fmt: skip
    measures = measure_rows(estimates, runs)
    translated = translate_losses(
        language_model, heldout, runs, libraries, seed=seed, contexts_at_once=batch_size, device=torch_device
    )
    n_clean = patching.clean_positions(store, keep_first=keep_first)
    answer = {
        **describe_heldout(heldout), **describe_runs(usable), "clean_positions": n_clean,
        "measures": [*measures, *translated],
    }  # fmt: skip
    tables = [
        patching.as_table(measures, trained_on(runs)),
        *([translated_table(translated, libraries)] if libraries else []),
    ]
    table = "\n\n".join([*tables, heldout.groups_sentence()])
    show(answer, with_progress([*measures, *translated], runs), table, as_json, as_csv_)


@command("pareto", "pareto --store data/demo.zarr runs/demo --out pareto")
@store_options
@runs_argument
@skip_option
@model_option
@contexts_option("to measure on, with and without the language model", default="100")
@click.option(
    "--without-model", is_flag=True, callback=excludes("model", "keep_first"),
    help="Leave out the measures that need the language model: nats lost, KL and score.",
)  # fmt: skip
@keep_first_option
@out_option
@seed_option
@device_option
@json_option
@csv_option
def pareto_command(
    choice: StoreChoice, paths: tuple[Path, ...], skip_damaged: bool,
    model: str | None, contexts: int, without_model: bool, keep_first: bool,
    out: Path | None, seed: int, device: str, as_json: bool, as_csv_: bool,
) -> None:  # fmt: skip
    """Compare families of runs at the same L0.

    Runs that differ only in the seed form one point, and points that differ only in α, k or the target L0 form a
    family. Prints each family's curve over L0, and the differences between families per layer, with 95 % intervals.
    """
    from analyze.compare.curves import HELD_OUT, PATCHED, curve_table, point_rows
    from analyze.compare.differences import matched_rows, matched_table
    from analyze.measure.evaluate import measure_heldout
    from analyze.measure.patching import patch as patching
    from analyze.measure.patching.model import load_for_store
    from analyze.report.write import write_pareto
    from analyze.runs.configurations import configurations, of_configurations
    from analyze.runs.settled import drifts
    from analyze.runs.trained_run import all_hooks
    from analyze.runs.training_curves import training_curves

    store, usable = open_store_and_runs(choice, paths, skip_damaged=skip_damaged)
    runs = usable.runs
    heldout, torch_device = heldout_contexts(store, contexts), choose_device(device)
    language_model = None if without_model else load_for_store(store, all_hooks(runs), model=model, device=torch_device)
    estimates = {HELD_OUT: measure_heldout(heldout, runs, seed=seed, device=torch_device)[0]}
    answer = {**describe_heldout(heldout), **describe_runs(usable)}
    if language_model is not None:
        answer["clean_positions"] = patching.clean_positions(store, keep_first=keep_first)
        estimates[PATCHED] = patching.patch(
            language_model, heldout, runs, seed=seed, keep_first=keep_first, device=torch_device
        )
    configured, settledness = configurations(runs), drifts(training_curves(runs), runs)
    points = [
        point_rows(of_configurations(measured, configured), configured, sample)
        for sample, measured in estimates.items()
    ]
    matched = [matched_rows(measured, runs, sample, settledness) for sample, measured in estimates.items()]
    all_points, all_matched = list(chain(*points)), list(chain(*matched))
    if out is not None:
        write_pareto(out, all_points, all_matched, configured)
    answer |= {"points": all_points, "matched": all_matched}
    trained = trained_on(configured)
    tables = [*(curve_table(rows, trained) for rows in points), *map(matched_table, matched)]
    table = "\n\n".join([*tables, heldout.groups_sentence()])
    show(answer, all_matched or with_progress(all_points, configured), table, as_json, as_csv_)
