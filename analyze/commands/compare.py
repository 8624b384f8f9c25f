"""The command that compares families of runs at the same L0, in sentences."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analyze.commands.options import (
    StoreChoice,
    command,
    contexts_option,
    csv_option,
    device_option,
    json_option,
    keep_first_option,
    layers_option,
    model_option,
    runs_argument,
    seed_option,
    skip_option,
    store_options,
)
from analyze.commands.shared import (
    check_contexts,
    choose_hooks,
    describe_heldout,
    describe_runs,
    open_store_and_runs,
    show,
)
from data.command.base import choose_device
from data.command.layer_choice import Layers
from data.command.option_types import Count, ListOf, Number, excludes
from data.errors import InputError

if TYPE_CHECKING:
    from analyze.statistics.estimates import Estimates


@command("compare", "compare --store data/demo.zarr runs/topk runs/nsae --at 20,40")
@store_options
@runs_argument
@click.option(
    "--at", "l0_values", type=ListOf(Number(0, above=True), "number"),
    help="Values of L0 to compare at, such as 20,40.  [default: those of --target-l0 that two families were trained "
    "for]",
)  # fmt: skip
@skip_option
@layers_option
@model_option
@contexts_option("for measures that do not run the language model", "--held-out")
@click.option(
    "--contexts", type=Count(), default="100", show_default=True, callback=excludes("without_model"),
    help="Number of held-out contexts, evenly spaced, for measures that run the language model.",
)  # fmt: skip
@click.option(
    "--without-model", is_flag=True, callback=excludes("model", "keep_first", "contexts"),
    help="Leave out the measures that need the language model: nats lost and KL.",
)  # fmt: skip
@keep_first_option
@seed_option
@device_option
@json_option
@csv_option
def compare_command(
    choice: StoreChoice, paths: tuple[Path, ...], l0_values: tuple[float, ...] | None, skip_damaged: bool,
    layers: Layers, model: str | None, held_out: int | None, contexts: int, without_model: bool, keep_first: bool,
    seed: int, device: str, as_json: bool, as_csv_: bool,
) -> None:  # fmt: skip
    """Compare each two families of runs at the same L0, and say which is better.

    Runs that differ only in their sparsity and seed form a family; if all runs are of one family, each folder of RUNS
    is compared with the others. First says which is best at each L0, which are tied with it and how sure that is, with
    a table of their measures. Then prints, for each pair, L0 and measure, a verdict in a sentence, and the differences
    by layer with 95 % intervals over seeds and documents. A difference is the second family minus the first. --csv
    prints the differences.
    """
    from analyze.compare.equal_l0.comparison import compare
    from analyze.compare.equal_l0.matching import Matching, samples_of
    from analyze.compare.equal_l0.sentence import verdict_row
    from analyze.compare.equal_l0.sides import find_sides, targets
    from analyze.compare.equal_l0.table import as_text
    from analyze.compare.summary.summarize import summarize
    from analyze.compare.summary.table import as_text as summary_text
    from analyze.measure.evaluate import measure_heldout
    from analyze.measure.heldout import Heldout
    from analyze.measure.patching import patch as patching
    from analyze.measure.patching.model import load_for_store
    from analyze.runs.settled import drifts
    from analyze.runs.training_curves import training_curves
    from train.measures import COMPARED

    store, usable = open_store_and_runs(choice, paths, skip_damaged=skip_damaged)
    runs, hooks, torch_device = usable.runs, choose_hooks(usable.runs, layers), choose_device(device)
    sides = find_sides(runs, paths)
    if len(sides) < 2:
        raise InputError(
            f"the folders of runs have one family only, {sides[0].name}; give runs of two families, or two folders"
        )
    chosen = list(l0_values or targets(sides))
    if not chosen:
        raise InputError("--at: no two families have the same --target-l0; give the values of L0 to compare at")
    for name, number in (("held_out", held_out), ("contexts", contexts)):
        check_contexts(store, number, name)
    heldout, patched = Heldout(store, held_out), Heldout(store, contexts)
    language_model = None if without_model else load_for_store(store, hooks, model=model, device=torch_device)
    estimates, fires = measure_heldout(heldout, runs, hooks=hooks, seed=seed, device=torch_device)
    with_model: Estimates = {}
    answer = {**describe_heldout(heldout), **describe_runs(usable)}
    if language_model is not None:
        with_model = patching.patch(
            language_model, patched, runs, hooks=hooks, seed=seed, keep_first=keep_first, device=torch_device
        )
        answer |= {"patched_contexts": patched.n_contexts, "patched_groups": patched.n_groups}
    settledness = drifts(training_curves(runs), runs)
    matching = Matching(samples_of(estimates, with_model, fires), sides, hooks)
    comparisons = compare(matching, COMPARED, chosen, settledness, heldout.unit)
    summary = summarize(matching, fires, chosen, settledness, heldout.unit)
    verdicts = [verdict_row(comparison) for comparison in comparisons]
    rows = list(chain.from_iterable(comparison.rows() for comparison in comparisons))
    answer |= {"summary": summary.to_json(), "verdicts": verdicts, "differences": rows}
    show(answer, rows, f"{summary_text(summary)}\n\n{as_text(verdicts, rows)}", as_json, as_csv_)
