"""Commands that ask what reconstructions cost the language model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from analyze.commands.shared import (
    about,
    about_runs,
    command,
    contexts_option,
    csv_option,
    device_option,
    heldout_contexts,
    json_option,
    keep_first_option,
    load_lm,
    model_option,
    opened,
    out_option,
    runs_argument,
    seed_option,
    show,
    skip_option,
    store_option,
    write_csv,
)
from analyze.runs.progress import with_progress
from analyze.tables import Row
from data.command.base import choose_device
from data.command.option_types import Count, excludes, is_given
from data.errors import InputError
from data.system.location import Location, write_file


@command("patch", "patch --store data/demo.zarr --model demo runs/demo --contexts 50")
@store_option
@runs_argument
@skip_option
@model_option
@contexts_option
@click.option("--batch-size", type=Count(), default="4", show_default=True, help="Contexts a forward pass.")
@keep_first_option
@seed_option
@device_option
@json_option
@csv_option
def patch_command(
    path: Location, paths: tuple[Path, ...], skip_damaged: bool,
    model: str | None, contexts: int, batch_size: int, keep_first: bool,
    seed: int, device: str, as_json: bool, as_csv_: bool,
) -> None:  # fmt: skip
    """What reconstructions cost the language model: nats lost, KL and reconstruction score, layer by layer."""
    from analyze.measure.patching import patch as patching
    from analyze.runs.trained_run import all_hooks
    from analyze.statistics.estimates import estimate_rows

    store, chosen = opened(path, paths, skip_damaged=skip_damaged)
    fitted = chosen.runs
    heldout, where = heldout_contexts(store, contexts), choose_device(device)
    if is_given(click.get_current_context(), "batch_size") and batch_size > heldout.n_contexts:
        raise InputError(f"--batch-size {batch_size:,}: is more than the {heldout.n_contexts} contexts; give less")
    lm = load_lm(store, all_hooks(fitted), model, where)
    estimates = patching.patch(
        lm, heldout, fitted, seed=seed, keep_first=keep_first, contexts_at_once=batch_size, device=where
    )
    lines = estimate_rows(estimates, fitted)
    clean = patching.clean_positions(store, keep_first=keep_first)
    facts = {**about(heldout), **about_runs(chosen), "clean_positions": clean, "measures": lines}
    rows = with_progress(lines, fitted)
    show(facts, rows, patching.as_table(rows), as_json, as_csv_)


@command("pareto", "pareto --store data/demo.zarr runs/demo --out pareto")
@store_option
@runs_argument
@skip_option
@model_option
@contexts_option
@click.option(
    "--without-model", is_flag=True, callback=excludes("model", "keep_first"),
    help="Leave out what needs the language model: nats lost, KL, score.",
)  # fmt: skip
@keep_first_option
@out_option
@seed_option
@device_option
@json_option
@csv_option
def pareto_command(
    path: Location, paths: tuple[Path, ...], skip_damaged: bool,
    model: str | None, contexts: int, without_model: bool, keep_first: bool,
    out: Path | None, seed: int, device: str, as_json: bool, as_csv_: bool,
) -> None:  # fmt: skip
    """Compare families of runs (that differ in α alone) at the same L0, layer by layer, with 95 % intervals."""
    from analyze.compare import pareto
    from analyze.measure.evaluate import measure_heldout
    from analyze.runs.trained_run import all_hooks

    store, chosen = opened(path, paths, skip_damaged=skip_damaged)
    fitted = chosen.runs
    heldout, where = heldout_contexts(store, contexts), choose_device(device)
    lm = None if without_model else load_lm(store, all_hooks(fitted), model, where)
    found = {pareto.HELD_OUT: measure_heldout(heldout, fitted, seed=seed, device=where)[0]}
    scope = {**about(heldout), **about_runs(chosen)}
    if lm is not None:
        from analyze.measure.patching import patch as patching

        scope["clean_positions"] = patching.clean_positions(store, keep_first=keep_first)
        found[pareto.PATCHED] = patching.patch(lm, heldout, fitted, seed=seed, keep_first=keep_first, device=where)
    points = {sample: pareto.curve_lines(estimates, fitted, sample) for sample, estimates in found.items()}
    matched = {sample: pareto.matched(estimates, fitted, sample) for sample, estimates in found.items()}
    of_all = [with_progress(lines, fitted) for lines in points.values()]
    whole, compared = ([line for lines in several for line in lines] for several in (of_all, matched.values()))
    if out is not None:
        write_pareto(out, whole, compared)
    facts = {**scope, "points": [line for lines in points.values() for line in lines], "matched": compared}
    tables = [*map(pareto.points_table, of_all), *map(pareto.as_table, matched.values())]
    show(facts, compared or whole, "\n\n".join(tables), as_json, as_csv_)


def write_pareto(out: Path, points: Sequence[Row], compared: Sequence[Row]) -> None:
    """points.csv, matched.csv, and a PNG for each measure."""
    from analyze.report.figures.pareto import pareto as drawn
    from analyze.report.figures.style import as_png

    write_csv(out, {"points": points, "matched": compared})
    for measure in dict.fromkeys(line["measure"] for line in points):
        write_file(out / f"{measure}.png", as_png(drawn(points, measure)))
