"""The command `train`: its options, and what it prints; the commands beside it, such as `train export`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from data.command.base import BAD_INPUT, GroupedOption, options_of
from data.command.cache_options import CACHE_HELP
from data.command.json_text import json_text
from data.command.option_types import LocalPath
from data.command.stop import StopRequest
from data.system.torchrun import RankPlace
from train.api import train
from train.command.config import load_defaults
from train.command.defaults import row_counts
from train.command.options import TYPES, Options
from train.command.setting_options import PluginCommand, setting_options
from train.command.settle import settle
from train.interchange.command import export_command, import_command
from train.presets import suites
from train.push.command import push_command
from train.variants import SETTINGS

COMMANDS = {"export": export_command, "import": import_command, "push": push_command}

# PyTorch takes seconds to import, so functions import it, after the options are parsed.
if TYPE_CHECKING:
    from train.experiment import Run
    from train.output.results import RunResult

EXAMPLES = """\b
Examples:
  train --store data/demo.zarr --variant baseline,nsae --activations 1M
  train --store data/gpt2.zarr --preset post                       the post's four runs, on the same batches
  train --store data/gpt2.zarr --variant nsae --l1 1e-5,4e-5,1e-4 --layers 0,5,11
  train --store data/gpt2.zarr --variant baseline --l1-power 1 --l1 4e-5   a norm-scaled baseline: α times the mean norm
  train --config sweep.toml;  train --resume runs/gpt2;  train --preset post --show
  train export --help;  train import --help          SAEs for other libraries, and from them
  train push --help                                  runs on the Hugging Face hub
"""

PRESET_HELP = "Runs with the values of a reference. " + " ".join(
    f"{suite}, for all of {', '.join(names)}." for suite, names in suites().items()
)
# What `--help` says, by group and option.
HELP = {
    "Runs (several values, separated by commas, make a run of each; VARIANT=VALUES gives them to one variant)": {
        "--variant": f"Architectures: {', '.join(SETTINGS)}.",
        "--preset": PRESET_HELP,
        "--lr": "Learning rate of Adam.  [default: the variant's own]",
        "--seed": "Seed of the initialisation, the noise and the resampling.  [default: 0]",
        "--seeds": "Number of replicas of each run, with the seeds 0, 1, 2 …; instead of --seed.",
        "--input-scale": "Scale that inputs are divided by: over the training split it makes E‖x‖ = 1 (mean-norm) or "
        "√d (sqrt-d), E‖x‖² = 1 (mean-square) or d (mean-square-d), or each row's ‖x‖ = 1 (row-norm) or √d "
        "(row-sqrt-d); layer-norm also subtracts each row's mean, and divides by its standard deviation.  "
        "[default: none]",
        "--input-mean": "Subtracted from inputs before they are divided (--input-scale): none, or the mean of the "
        "store's training rows.  [default: none]",
    },
    "Data": {
        "--store": "The store to train on, such as data/gpt2.zarr or s3://bucket/gpt2.zarr.",
        **CACHE_HELP,
        "--layers": "Layers to train on: `all`, or numbers and ranges such as 0,5,8-11; 3- is 3 to the last.",
        "--hook": "Hook of each layer to train on, if the store has several: mlp_out, resid_post or another.",
        "--activations": "Number of rows to train on, rounded down to whole batches.  [default: the preset's, else "
        "100M]",
        "--batch-size": "Rows per step.  [default: the preset's, else 4096; all rows if there are fewer]",
        "--data-seed": "Seed of the order of rows, which all runs share.",
        "--data-seeds": "Seeds of several orders of rows, separated by commas. All runs are trained once per order, "
        "one order after another, in OUT/data_seed=0 and so on.",
        "--follow": "Visit the windows of the store in the order in which `harvest` writes them, each row at most "
        "once.",
        "--mix-windows": "Number of neighbouring windows whose rows are mixed, with --follow; more mix better and keep "
        "rows in use for longer.  [default: 8]",
        "--skip-damaged": "Check all shards of the store first, and train without the damaged ones.",
    },
    "Model and loss": {
        "--expansion": "Number of features divided by d_model.",
        "--l2": "Whether the squared error is a mean or a sum over d_model.",
        "--norm": "The norm in β = α · normᵖ: the batch's mean, the store's mean, or that of each sample.",
        "--no-decoder-bias": "Leave out the decoder bias b_dec, as the post's formulas do.",
        "--init": "Initialisation: scaled to the inputs, or as in the author's code.",
    },
    "Optimisation (the first four take several values, also as VARIANT=VALUES)": {
        "--lr-warmup": "Rows over which the learning rate rises from 0.  [default: 0]",
        "--l1-warmup": "Rows over which the sparsity coefficient rises from 0.  [default: 0]",
        "--lr-decay": "Rows at the end of the training over which the learning rate falls to 0.  [default: 0]",
        "--clip": "Norm to which each SAE's gradient is clipped; 0: no clipping.  [default: 0]",
        "--precision": "Type of the matrix products; auto is bfloat16 on a GPU and float32 on a CPU. Weights are "
        "always float32.",
        "--resample-interval": "Rows between two restarts of dead features.  [default: never]",
        "--resample-window": "Number of training rows before a restart over which firing is counted.  [default: half "
        "of --resample-interval]",
        "--resample-threshold": "A feature is restarted if it fired in at most this share of the rows of "
        "--resample-window.",
        "--resample-at-most": "Maximum number of restarts of dead features.",
        "--resample-rows": "Rows from which the inputs of restarted features are drawn.  [default: 100k, or all rows "
        "of the store]",
    },
    "Measures": {
        "--validate-every": "Rows between two validations on the held-out split.  [default: a twentieth of "
        "--activations]",
        "--validate-rows": "Maximum number of held-out rows that a validation measures.  [default: a two-hundredth of "
        "--activations, from 2k to 50k]",
        "--log-every": "Rows between two measures on a training batch.  [default: a thousandth of --activations]",
        "--window": "Number of training rows over which firing is counted for the share of dead features.  [default: a "
        "fifth of --activations, at most 1M]",
        "--snapshots": "Number of validations at which the weights are saved.",
        "--eval-noise": "Print NSAE's measures with noise, as in the post, instead of without; the files have both.",
        "--log": "Also log to tensorboard, wandb, or both.",
    },
    "Experiment": {
        "--out": "The experiment's folder.  [default: runs/STORE]",
        "--checkpoint-minutes": "Minutes between two checkpoints; they change no result.",
        "--device": "Device to train on; auto takes a GPU if there is one.",
        "--overwrite": "Replace an existing experiment.",
    },
}


class TrainCommand(PluginCommand):
    """The command `train`, whose first argument may be another command's name."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *rest: Any, **more: Any) -> Any:
        """Run the command that the first argument names, else this one."""
        arguments = sys.argv[1:] if args is None else list(args)
        if arguments and arguments[0] in COMMANDS:
            return COMMANDS[arguments[0]].main(arguments[1:], f"{prog_name or 'train'} {arguments[0]}", *rest, **more)
        return super().main(arguments, prog_name, *rest, **more)


@click.command(
    cls=TrainCommand,
    epilog=EXAMPLES,
    params=[*options_of(train, TYPES, HELP, optional=("store",)), *setting_options()],
)
@click.option(
    "--config", cls=GroupedOption, group="Command", type=LocalPath(), is_eager=True, callback=load_defaults,
    expose_value=False, help="A TOML file of options, without their dashes; command-line options override it.",
)  # fmt: skip
@click.option(
    "--resume", cls=GroupedOption, group="Command", type=LocalPath(), is_eager=True, callback=load_defaults,
    help="Continue the experiment in this folder, with the options that began it.",
)  # fmt: skip
@click.option(
    "--show", cls=GroupedOption, group="Command", is_flag=True,
    help="Check all options and print the runs and settings, without training.",
)  # fmt: skip
@click.option(
    "--json", "as_json", cls=GroupedOption, group="Command", is_flag=True, help="Print the final measures as JSON."
)
@click.pass_context
def main(ctx: click.Context, /, resume: Path | None, show: bool, as_json: bool, **options: Any) -> None:
    """Train SAEs on a store's activations, all runs on the same batches, without the language model.

    A stopped training (Ctrl-C, SIGTERM, a crash) is continued by the same command. Several processes share a training
    with `torchrun --nproc-per-node N -m train …`, one per GPU.
    """
    from train.orders import prepare_orders, train_orders
    from train.prepare import out_of

    stopping: StopRequest = ctx.obj
    defaults = {name: parameter.default for name, parameter in signature(train).parameters.items()}
    settled = settle(ctx, {**options, "out": resume or options["out"]}, defaults)
    if show and settled.store is None:
        show_without_store(settled)
        return
    trainings = prepare_orders(settled, stop=stopping.event, out_option="--resume" if resume else "--out")
    if show:
        training = trainings[0]
        n_rows, experiment = training.store.n_rows("train"), training.experiment
        show_runs(
            experiment.runs, {**vars(experiment.schedule), "clip": experiment.clip}, settled, n_rows, out_of(settled)
        )
        return
    for training in trainings:
        if training.finished and not training.quiet:
            click.echo(f"{training.out} is finished; nothing to do", err=True)
    results = train_orders(trainings, stopping.event)
    sentences = [sentence for result in results if (sentence := result.describe_failure())]
    if RankPlace.from_environment().rank == 0:
        print_results(results, as_json=as_json, noise=settled.eval_noise)
        for sentence in sentences:
            click.echo(f"Error: {sentence}", err=True)
    if sentences:
        sys.exit(BAD_INPUT)


def show_without_store(options: Options) -> None:
    """Check the options that need no store, and print the runs that they make. Raises InputError."""
    from train.command.checks import check_options
    from train.experiment import without_shared
    from train.prepare import runs_of

    counts = row_counts(options)
    runs = runs_of(options, counts)
    check_options(options, counts, runs, None)
    show_runs(*without_shared(runs), options)


def show_runs(
    runs: Sequence[Run], shared: Mapping[str, Any], options: Options, n_rows: int | None = None, out: Path | None = None
) -> None:
    """Print the runs, and the settings that they share; `n_rows`: the store's training rows, None if unknown."""
    counts = asdict(row_counts(options, n_rows))
    settings = {**options.recorded(), **shared, **counts, **({} if out is None else {"out": str(out)})}
    of_all = {name: value for name, value in settings.items() if name not in runs[0].to_json()}
    click.echo(json_text({"runs": [run.to_json() for run in runs], "shared": of_all}))


def print_results(results: Sequence[RunResult], *, as_json: bool, noise: bool) -> None:
    """Print the last held-out measures: a table of means over layers, or all of them as JSON.

    `noise`: the table has the measures with noise, of the runs that are measured with noise.
    """
    from train.output.results import distinct_runs
    from train.tables import heldout_table, with_noise

    runs = distinct_runs(results)
    records = {run.name: result.heldout for run, result in zip(runs, results, strict=True)}
    click.echo(json_text(records) if as_json else heldout_table(with_noise(runs, records, noise=noise)))
