"""The command `train`.

Not here: what options mean together (options.py), training (trainer.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from data.cli import BAD_INPUT, Count, StoppableCommand, StoreLocation, choose_device
from data.errors import InputError, Stopped
from data.json_text import json_text
from data.stop import StopRequest
from data.writable import check_writable
from train.options import NAMES, NUMBERS, WHOLES, command_line, given_values, load_defaults, make_experiment
from train.presets import presets

# PyTorch takes seconds to import, so functions import it, after the options are parsed.
if TYPE_CHECKING:
    from train.runs import Run

SHARED = presets()["shared"]  # Table A2
Command = Callable[..., None]

EXAMPLES = """\b
Examples:
  train --store data/demo.zarr --variant baseline,nsae --activations 1M --validate-every 250k
  train --store data/gpt2.zarr --preset post                       the post's four runs, on the same batches
  train --store data/gpt2.zarr --variant nsae --l1 1e-5,4e-5,1e-4 --layers 0,5,11
  train --store data/gpt2.zarr --variant baseline --l1-power 0,1   the control: α scaled by the mean norm
  train --config sweep.toml;  train --resume runs/gpt2;  train --preset post --show
"""


def option(name: str, flag: str | None = None, **more: Any) -> Callable[[Command], Command]:
    """A click option whose default, unless given, is Table A2's."""
    if not more.get("is_flag"):
        more.setdefault("default", SHARED.get(name.strip("-").replace("-", "_")))
    shown = more.get("default") is not None
    return click.option(name, *([flag] if flag else []), show_default=shown, **more)


@click.command(cls=StoppableCommand, epilog=EXAMPLES)
@option("--config", type=click.Path(path_type=Path), is_eager=True, callback=load_defaults, expose_value=False,
        help="A TOML file of these options, without their dashes; the command line goes before it.")  # fmt: skip
@option("--resume", type=click.Path(path_type=Path), is_eager=True, callback=load_defaults,
        help="Continue the experiment in this folder, with the options it was begun with.")  # fmt: skip
@option("--store", type=StoreLocation(), help="The store, such as data/gpt2.zarr or s3://bucket/gpt2.zarr.")
@option("--variant", type=NAMES, help="baseline, nsae; several with commas, as for all options marked *.")
@option("--preset", type=NAMES,
        help="* Runs of Table A1: baseline_1, baseline_2, normalized_1, normalized_2; post for all.")  # fmt: skip
@option("--l1", type=NUMBERS, help="* Sparsity coefficient α. [default: that of the variant's first preset]")
@option("--lr", type=NUMBERS, help="* Learning rate. [default: that of the variant's first preset]")
@option("--sigma", type=NUMBERS, help="* Standard deviation of NSAE's noise. [default: 1]")
@option("--seed", type=WHOLES, help="* Of the start, the noise and the resampling. [default: 0]")
@option("--l1-power", type=WHOLES, help="* β = α · norm to this power. [default: 2 for nsae, 0 for baseline; 1 is the "
        "baseline's control]")  # fmt: skip
@option("--input-scale", type=NAMES, help="* Divide inputs by: none, mean-norm (of the store's training split). "
        "[default: none]")  # fmt: skip
@option("--layers", default="all", help="`all`, or numbers and ranges: 0,5,8-11.")
@option("--hook", help="Which hook of each layer, where the store has several: mlp_out, resid_post …")
@option("--out", type=click.Path(path_type=Path), help="The experiment's folder. [default: runs/STORE]")
@option("--expansion", type=float, help="d_sae over d_model.")
@option("--activations", type=Count(), help="Rows to train on, rounded down to whole batches.")
@option("--batch-size", type=Count(), help="Rows a step.")
@option("--l2", type=click.Choice(["mean", "sum"]), help="The squared error over d_model.")
@option("--norm", type=click.Choice(["batch", "store", "sample"]),
        help="Where β takes the norm from: the batch's mean, the store's, or each sample's own.")  # fmt: skip
@option("--no-decoder-bias", is_flag=True, help="Leave out the tied bias b_dec, as the post's formulas do.")
@option("--init", type=click.Choice(["scaled", "code"]), default="scaled",
        help="The start: scaled to the inputs, or as in the author's code.")  # fmt: skip
@option("--lr-warmup", type=Count(), help="Rows over which the learning rate rises from 0.")
@option("--l1-warmup", type=Count(), help="Rows over which the sparsity coefficient rises from 0.")
@option("--lr-decay", type=Count(), help="Last rows, over which the learning rate falls to 0.")
@option("--clip", type=float, help="Clip each SAE's gradient to this norm.")
@option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto",
        help="Of the products; weights are always float32. auto: bfloat16 on a GPU.")  # fmt: skip
@option("--resample-interval", type=Count(), help="Restart dead features every so many rows.")
@option("--resample-window", type=Count(), help="Rows before, over which their firing is counted.")
@option("--resample-threshold", type=float, help="Dead: fired in at most this share of them.")
@option("--resample-at-most", type=click.IntRange(min=0), help="How many times.")
@option("--resample-rows", type=Count(), help="Rows from which restarted features' inputs are drawn.")
@option("--validate-every", type=Count(), help="Rows between measures on the held-out split.")
@option("--validate-rows", type=Count(), default="50k", help="How many held-out rows are measured, at most.")
@option("--log-every", type=Count(), default="100k", help="Rows between measures on a training batch.")
@option("--window", type=Count(), default="1M", help="Rows over which firing is counted for the dead fraction.")
@option("--snapshots", type=click.IntRange(min=0), default=20, help="How many validations keep the weights.")
@option("--eval-noise", is_flag=True, help="Show NSAE's measures with noise, as in the post (files have both).")
@option("--checkpoint-minutes", type=float, default=10, help="Between checkpoints; they change no result.")
@option("--log", type=NAMES, help="Also log to tensorboard, wandb, or both.")
@option("--data-seed", type=int, default=0, help="Of the order of the rows, which all runs share.")
@option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@option("--overwrite", is_flag=True, help="Replace an existing experiment.")
@option("--show", is_flag=True, help="Print the runs and settings, and train nothing.")
@option("--json", "as_json", is_flag=True, help="Print the final measures as JSON.")
@click.pass_obj
def main(stopping: StopRequest, /, **options: Any) -> None:
    """Train SAEs on a store's activations, all runs on the same batches, without the language model.

    A stopped training (Ctrl-C, SIGTERM, a crash) is continued by the same command.
    """
    from data.allocator import keep_large_blocks
    from data.reader import open_store
    from train.outputs import Outputs, check_existing, remove
    from train.plan import check_memory, make_plan
    from train.records import check_logs
    from train.runs import make_runs
    from train.trainer import Trainer

    runs = make_runs(options["preset"] or (), given_values(options))
    if options["show"]:
        show_runs(runs, options)
        return
    if options["store"] is None:
        raise InputError("--store: name the store to train on; `harvest` makes one")
    store = open_store(options["store"])
    device = choose_device(options["device"])
    experiment = make_experiment(store, runs, options, device.type)
    out = options["resume"] or options["out"] or Path("runs") / options["store"].name.removesuffix(".zarr")
    if check_existing(out, experiment, overwrite=options["overwrite"]):
        click.echo(f"{out} is finished; nothing to do", err=True)
        end(out, experiment.runs, options)
        return
    check_writable(out, "--resume" if options["resume"] else "--out")
    check_logs(options["log"] or ())
    plan = make_plan(experiment, store.d(experiment.hooks[0]), device)
    check_memory(plan, experiment, store, device)
    if options["overwrite"]:
        remove(out)
    outputs = Outputs(
        out, experiment, command=command_line(options), provenance=store.provenance, logs=options["log"] or (),
        checkpoint_seconds=60 * options["checkpoint_minutes"],
    )  # fmt: skip
    with closing(outputs):
        trainer = Trainer(experiment, plan, store, outputs, device, eval_noise=options["eval_noise"])
        if device.type == "cpu":
            keep_large_blocks()
        if not trainer.train(stopping.event):
            raise Stopped
    end(out, experiment.runs, options)


def end(out: Path, runs: Sequence[Run], options: Mapping[str, Any]) -> None:
    """Print the results; runs that were given up are named, and make the exit code 2."""
    from train.outputs import failures

    show_results(out, runs, as_json=options["as_json"], noise=options["eval_noise"])
    failed = failures(out, runs)
    if failed:
        click.echo("\n".join(f"Error: {line}" for line in failed), err=True)
        sys.exit(BAD_INPUT)


def show_runs(runs: Sequence[Run], options: Mapping[str, Any]) -> None:
    """Print what would be trained: the runs, and the settings that they share."""
    shared = {key: value for key, value in command_line(options).items() if key not in asdict(runs[0])}
    click.echo(json_text({"runs": [asdict(run) for run in runs], "shared": shared}))


def show_results(out: Path, runs: Sequence[Run], *, as_json: bool, noise: bool) -> None:
    """The last measures on the held-out split: a table of means over layers, or all as JSON.

    `noise`: the table shows those measured with noise, of the runs that have it.
    """
    from train.outputs import final_records
    from train.sae import ARCHITECTURES
    from train.trainer import table

    found = final_records(out, runs)
    if as_json:
        click.echo(json_text(found))
    else:
        noisy = {run.name: noise and ARCHITECTURES[run.variant].noisy for run in runs}
        click.echo(table({name: [r for r in rs if r["noise"] == noisy[name]] for name, rs in found.items()}))
