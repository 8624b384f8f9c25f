"""The command `train`.

Not here: what options mean together (options.py), training (trainer.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from data.command.base import BAD_INPUT, StoppableCommand, choose_device
from data.command.json_text import json_text
from data.command.option_types import NAME, SEED, Count, LayerChoice, LocalPath, Number, Several, StoreLocation
from data.command.stop import StopRequest
from data.command.writable import check_writable
from data.errors import InputError
from train.config import load_defaults
from train.defaults import FOLLOWING, with_defaults
from train.options import (
    check_effects,
    check_norms,
    check_rows,
    choose_hooks,
    command_line,
    folder_of,
    given_values,
    make_experiment,
    settled,
)
from train.presets import presets

# PyTorch takes seconds to import, so functions import it, after the options are parsed.
if TYPE_CHECKING:
    from data.store.reader import Store
    from train.experiment import Experiment, Run

SHARED = presets()["shared"]  # Table A2
Command = Callable[..., None]
RATES = Several(Number(0, above=True), "number")

EXAMPLES = """\b
Examples:
  train --store data/demo.zarr --variant baseline,nsae --activations 1M
  train --store data/gpt2.zarr --preset post                       the post's four runs, on the same batches
  train --store data/gpt2.zarr --variant nsae --l1 1e-5,4e-5,1e-4 --layers 0,5,11
  train --store data/gpt2.zarr --variant baseline --l1-power 0,1   the control: α scaled by the mean norm
  train --config sweep.toml;  train --resume runs/gpt2;  train --preset post --show
"""


def option(name: str, flag: str | None = None, **more: Any) -> Callable[[Command], Command]:
    """A click option whose default, unless given or following --activations, is Table A2's."""
    parameter = name.strip("-").replace("-", "_")
    if not more.get("is_flag") and parameter not in FOLLOWING:
        more.setdefault("default", SHARED.get(parameter))
    shown = more.get("default") is not None
    return click.option(name, *([flag] if flag else []), show_default=shown, **more)


@click.command(cls=StoppableCommand, epilog=EXAMPLES)
@option("--config", type=LocalPath(), is_eager=True, callback=load_defaults, expose_value=False,
        help="A TOML file of these options, without their dashes; the command line overrides it.")  # fmt: skip
@option("--resume", type=LocalPath(), is_eager=True, callback=load_defaults,
        help="Continue the experiment in this folder, with the options it was begun with.")  # fmt: skip
@option("--store", type=StoreLocation(), help="The store, such as data/gpt2.zarr or s3://bucket/gpt2.zarr.")
@option(
    "--variant",
    type=Several(NAME, "name"),
    help="baseline, nsae; several with commas, as for all options marked *.",
)
@option("--preset", type=Several(NAME, "name"),
        help="* Runs of Table A1: baseline_1, baseline_2, normalized_1, normalized_2; post for all.")  # fmt: skip
@option("--l1", type=RATES, help="* Sparsity coefficient α. [default: that of the variant's first preset]")
@option("--lr", type=RATES, help="* Learning rate. [default: that of the variant's first preset]")
@option("--sigma", type=Several(Number(0), "number"), help="* Standard deviation of NSAE's noise. [default: 1]")
@option("--seed", type=Several(SEED, "whole number"), help="* Of the start, the noise and the resampling. [default: 0]")
@option("--l1-power", type=Several(Count(zero=True, most=4), "whole number"), help="* β = α · norm to this power. "
        "[default: 2 for nsae, 0 for baseline; 1 is the baseline's control]")  # fmt: skip
@option("--input-scale", type=Several(click.Choice(["none", "mean-norm"]), "name"), help="* Divide "
        "inputs by: none, mean-norm (of the store's training split). [default: none]")  # fmt: skip
@option(
    "--layers", type=LayerChoice(), default="all", help="`all`, or numbers and ranges: 0,5,8-11; 3- is 3 to the end."
)
@option("--hook", type=NAME, help="Which hook of each layer, where the store has several: mlp_out, resid_post …")
@option("--out", type=LocalPath(), help="The experiment's folder. [default: runs/STORE]")
@option("--expansion", type=Number(0, 1e9, above=True), help="d_sae over d_model.")
@option("--activations", type=Count(most=10**12), help="Rows to train on, rounded down to whole batches.")
@option("--batch-size", type=Count(), help="Rows per step.  [default: 4096, or all rows where there are fewer]")
@option("--l2", type=click.Choice(["mean", "sum"]), help="The squared error over d_model.")
@option("--norm", type=click.Choice(["batch", "store", "sample"]),
        help="Where β takes the norm from: the batch's mean, the store's, or each sample's own.")  # fmt: skip
@option("--no-decoder-bias", is_flag=True, help="Leave out the tied bias b_dec, as the post's formulas do.")
@option("--init", type=click.Choice(["scaled", "code"]), default="scaled",
        help="The start: scaled to the inputs, or as in the author's code.")  # fmt: skip
@option("--lr-warmup", type=Count(zero=True), help="Rows over which the learning rate rises from 0.  [default: 0]")
@option(
    "--l1-warmup", type=Count(zero=True), help="Rows over which the sparsity coefficient rises from 0.  [default: 0]"
)
@option("--lr-decay", type=Count(zero=True), help="Last rows, over which the learning rate falls to 0.  [default: 0]")
@option("--clip", type=Number(0, above=True), help="Clip each SAE's gradient to this norm.")
@option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto",
        help="Of the products; weights are always float32. auto: bfloat16 on a GPU.")  # fmt: skip
@option("--resample-interval", type=Count(), help="Restart dead features every so many rows.  [default: never]")
@option(
    "--resample-window",
    type=Count(),
    help="Rows before a restart over which firing is counted.  [default: half of the interval]",
)
@option("--resample-threshold", type=Number(0, 1), help="Dead: fired in at most this share of them.")
@option("--resample-at-most", type=Count(zero=True), help="How many times.")
@option(
    "--resample-rows",
    type=Count(),
    help="Rows from which restarted features' inputs are drawn.  [default: 100k, or all rows of the store]",
)
@option(
    "--validate-every",
    type=Count(),
    help="Rows between measures on the held-out split.  [default: a twentieth of --activations]",
)
@option("--validate-rows", type=Count(), help="How many held-out rows are measured, at most.  "
        "[default: a fiftieth of --activations, from 5k to 50k]")  # fmt: skip
@option(
    "--log-every",
    type=Count(),
    help="Rows between measures on a training batch.  [default: a thousandth of --activations]",
)
@option(
    "--window",
    type=Count(),
    help="Rows over which firing is counted for the dead fraction.  [default: a fifth of --activations, at most 1M]",
)
@option("--snapshots", type=Count(zero=True, most=10_000), default=20, help="How many validations keep the weights.")
@option("--eval-noise", is_flag=True, help="Show NSAE's measures with noise, as in the post (files have both).")
@option("--checkpoint-minutes", type=Number(0, 1e6), default=10, help="Between checkpoints; they change no result.")
@option(
    "--log",
    type=Several(click.Choice(["tensorboard", "wandb"]), "name"),
    help="Also log to tensorboard, wandb, or both.",
)
@option("--data-seed", type=SEED, default=0, help="Of the order of the rows, which all runs share.")
@option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@option("--overwrite", is_flag=True, help="Replace an existing experiment.")
@option("--skip-damaged", is_flag=True, help="Check all shards first, and leave damaged ones out of the experiment.")
@option("--show", is_flag=True, help="Check all, print the runs and settings, and train nothing.")
@option("--json", "as_json", is_flag=True, help="Print the final measures as JSON.")
@click.pass_context
def main(ctx: click.Context, /, **given: Any) -> None:
    """Train SAEs on a store's activations, all runs on the same batches, without the language model.

    A stopped training (Ctrl-C, SIGTERM, a crash) is continued by the same command.
    """
    from data.store.reader import open_store
    from train.experiment import make_runs
    from train.loop.memory_needs import check_memory
    from train.loop.memory_plan import make_plan
    from train.output.existing import check_existing
    from train.output.experiment_writer import remove_checkpoints
    from train.output.sinks import check_logs
    from train.run import run

    stopping: StopRequest = ctx.obj
    given = settled(ctx, given)
    runs = make_runs(given["preset"] or (), given_values(given))
    check_logs(given["log"] or ())
    device = choose_device(given["device"])
    store = open_store(given["store"]) if given["store"] is not None else None
    if store is not None and (not store.complete or store.fingerprint is None):
        raise InputError(f"--store {store.path}: is unfinished; continue the harvest with its command")
    if store is not None and given["skip_damaged"]:
        store = without_damaged(store, given)
    n_rows = None if store is None else store.n_rows("train")
    options = with_defaults(given, n_rows)
    check_rows(options, n_rows)
    check_effects(ctx, options, runs)
    if store is None:
        if not options["show"]:
            raise InputError("--store: name the store to train on; `harvest` makes one")
        show_runs(runs, options)
        return
    experiment = make_experiment(store, runs, options, device.type)
    check_norms(store, experiment.hooks)
    out = folder_of(options)
    finished = check_existing(out, experiment, overwrite=options["overwrite"])
    if finished and not options["show"]:
        remove_checkpoints(out, experiment.runs)  # a kill may have left them
        click.echo(f"{out} is finished; nothing to do", err=True)
        end(out, experiment, options)
        return
    check_writable(out, "--resume" if options["resume"] else "--out")
    plan = make_plan(experiment, store.width(experiment.hooks[0]), device)
    check_memory(plan, experiment, store, device)
    if options["show"]:
        show_runs(runs, {**options, "out": out})
        return
    if not store.n_rows("heldout"):
        click.echo(f"--store {store.path}: has no held-out rows, so no run is validated", err=True)
    run(
        experiment, plan, store, out, device, command=command_line(given), logs=options["log"] or (),
        checkpoint_seconds=60 * options["checkpoint_minutes"], overwrite=options["overwrite"],
        eval_noise=options["eval_noise"], stop=stopping.event,
    )  # fmt: skip
    end(out, experiment, options)


def without_damaged(store: Store, given: Mapping[str, Any]) -> Store:
    """The store without its damaged shards, which are named; an experiment that goes on leaves out what it did before.

    So it sees the same rows in the same order.
    """
    from data.store.verify import damaged_shards
    from train.output.settings import read_experiment

    recorded = None if given["overwrite"] else read_experiment(folder_of(given))
    if recorded is not None and recorded.settings.get("store") == store.fingerprint:
        left_out = [int(shard) for shard in recorded.settings.get("left_out", ())]
        if left_out:
            click.echo(f"shards {', '.join(map(str, left_out))} are left out, as before", err=True)
    else:
        damaged = damaged_shards(store, choose_hooks(store, given["layers"], given["hook"]))
        for why in damaged.values():
            click.echo(f"left out: {why}", err=True)
        left_out = list(damaged)
    return store.without(left_out)


def end(out: Path, experiment: Experiment, options: Mapping[str, Any]) -> None:
    """Print the results; runs that diverged are named, and make the exit code 2."""
    from train.output.existing import failures

    show_results(out, experiment, as_json=options["as_json"], noise=options["eval_noise"])
    failed = failures(out, experiment.runs)
    if failed:
        click.echo("\n".join(f"Error: {line}" for line in failed), err=True)
        sys.exit(BAD_INPUT)


def show_runs(runs: Sequence[Run], options: Mapping[str, Any]) -> None:
    """Print what would be trained: the runs, and the settings that they share."""
    shared = {key: value for key, value in command_line(options).items() if key not in asdict(runs[0])}
    click.echo(json_text({"runs": [asdict(run) for run in runs], "shared": shared}))


def show_results(out: Path, experiment: Experiment, *, as_json: bool, noise: bool) -> None:
    """Print the last measures on the held-out split: a table of means over layers, or all as JSON.

    `noise`: the table has the measures with noise, of the runs that are measured with noise.
    """
    from train.output.existing import final_records
    from train.run import with_noise
    from train.tables import heldout_table

    records = final_records(out, experiment.runs)
    click.echo(json_text(records) if as_json else heldout_table(with_noise(experiment, records, noise=noise)))
