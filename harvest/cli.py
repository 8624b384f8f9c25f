"""The command `harvest`: its options, and what it prints."""

from __future__ import annotations

from dataclasses import asdict
from inspect import signature
from typing import TYPE_CHECKING, Any

import click

from data.command.base import GroupedOption, StoppableCommand, options_of
from data.command.json_text import json_text
from data.command.option_types import check_no_effect, excludes, is_given
from data.command.stop import StopRequest
from data.errors import InputError
from harvest.api import harvest
from harvest.arrays.api import store_arrays
from harvest.options import ARRAY_TYPES, TYPES
from harvest.plan.options import PLAN_NAMES, PLAN_OPTIONS

if TYPE_CHECKING:
    from data.store.reader import Store

EXAMPLES = """\b
Examples:
  harvest --model demo --tokens 200k                      no network, no GPU: the embedded model and text
  harvest --model gpt2 --tokens 100M                      the post's run: GPT-2 small on the Pile, all 12 layers
  harvest --model gpt2 --tokens 10M --layers 0,5,11 --dtype bfloat16
  harvest --model ./my-model --dataset ./texts --tokens 1M --dry-run
  harvest --model gpt2 --tokens 10B --plan --gpus 64 --disk 5GB/s
  harvest --model gpt2 --out s3://bucket/gpt2.zarr        an object store; needs the extra [object-store]
  harvest --activations acts.npy --out data/acts.zarr     activations that are in files already
"""


# What `--help` says, by group and option.
HELP = {
    "Model": {
        "--model": "Language model: a hub name, a folder in hub format, or `demo` for the embedded model.",
        "--revision": "Branch, tag or commit of the model on the hub.",
        "--hook": "Activations to store, separated by commas: mlp_out, resid_pre, resid_post, attn_out, or the name of "
        "another TransformerLens hook.",
        "--layers": "Layers to harvest: `all`, or numbers and ranges such as 0,5,8-11; 3- is 3 to the last.",
        "--processing": "`centred` subtracts its mean over d_model from each weight that writes to the residual "
        "stream, as TransformerLens does; `none` keeps the weights.",
    },
    "Text": {
        "--dataset": "Text or token ids: a hub name, a local file or folder, or `demo`.  [default: "
        "monology/pile-uncopyrighted; for --model demo, demo]",
        "--dataset-config": "Configuration of a hub dataset.",
        "--dataset-split": "Split of a hub dataset, a saved DatasetDict, or a folder whose files are named after "
        "splits.  [default: train]",
        "--text-column": "Column of the dataset with text or token ids.  [default: text, else input_ids]",
        "--tokens": "Number of tokens to harvest, rounded down to whole contexts.",
        "--context-size": "Tokens per context.  [default: 256, or the model's maximum if that is smaller]",
        "--skip-positions": "Number of positions at the start of each context that are not stored.",
        "--prefix-token": "Token put before each context: none, bos, eos or a token id.",
        "--separator-token": "Token put after each document of text: none, bos, eos or a token id.  [default: eos]",
        "--special-tokens": "How text that spells a special token, such as </s>, is tokenised: as ordinary `text`, or "
        "parsed as that token.  [default: text]",
        "--held-out": "Contexts held out for validation: a share such as 1%, or a number.  [default: 1%, at least 200 "
        "contexts, at most a tenth]",
    },
    "Store": {
        "--out": "The store: a folder, or an address such as s3://bucket/gpt2.zarr.  [default: data/MODEL.zarr]",
        "--dtype": "Type of the stored activations.",
        "--compress": "Compression of the stored activations.",
        "--seed": "Seed of the shuffle of rows over shards.",
        "--overwrite": "Replace an existing store.",
        "--worker": "Fill only the share of one of several workers, such as 0/8 to 7/8.  [default: that of torchrun or "
        "of a batch system's array of jobs, else 0/1]",
        "--keep": "Maximum size of the store on the disk at any time, such as 200G, tokens and held-out rows included: "
        "the harvest waits until trainings with `train --follow` have used the oldest windows, and removes their "
        "training rows.  [default: no limit]",
    },
    "Computation": {
        "--batch-size": "Contexts per forward pass.",
        "--precision": "Precision of the model's matrix products; the store records the measured error against "
        "float32.",
        "--compile": "Whether to compile the forward pass; `auto` compiles on a GPU for 20M tokens or more if a "
        "compiler is installed.",
        "--device": "Device of the forward pass; `auto` takes a GPU if there is one.",
        "--device-map": "Spread a model that is larger than one GPU over all GPUs, main memory and the disk, as in "
        "transformers: `auto` fills the GPUs evenly, `balanced_low_0` leaves room on the first one, `sequential` fills "
        "one after another.  [default: the whole model on one device]",
        "--max-memory": "Memory for the weights on each device with --device-map, such as 0=70GB,1=70GB,cpu=200GB; "
        "the other weights are read from the disk for each pass.  [default: what is free]",
    },
}


ARRAY_HELP = {
    "Instead of a model": {
        "--activations": "Activations that are in files already: .npy, .safetensors, .zarr, a folder of such files, or "
        "a dataset that SAELens cached. Options of Model, Text and Computation do not apply, except --hook (arrays to "
        "store, or the name of a single one), --context-size, --skip-positions, --tokens, --held-out, and the names "
        "--model and --dataset.",
        "--token-ids": "File of the token ids of --activations, [contexts, tokens] or [rows].  [default: the array "
        "token_ids beside the activations, else unknown]",
        "--documents": "File of the document numbers of --activations, [contexts] or [contexts, tokens].  [default: "
        "each context is a document]",
    }
}


@click.command(
    cls=StoppableCommand,
    epilog=EXAMPLES,
    params=[
        *options_of(harvest, TYPES, HELP, optional={"model"}),
        *options_of(store_arrays, ARRAY_TYPES, ARRAY_HELP, optional={"activations"}),
        *PLAN_OPTIONS,
    ],
)
@click.option(
    "--dry-run", is_flag=True, cls=GroupedOption, group="Output", callback=excludes("plan"),
    help="Print the size of the store and the time of the harvest without writing anything.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, cls=GroupedOption, group="Output", help="Print the summary as JSON.")
@click.pass_context
def main(ctx: click.Context, /, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Run a language model once and store its activations, for training SAEs on them as often as you like.

    A stopped harvest (Ctrl-C, SIGTERM, a crash) is continued by the same command.
    """
    if not options["plan"]:
        check_no_effect(ctx, "without --plan", *PLAN_NAMES)
    if options["activations"] is not None:
        _store_arrays(ctx, options, dry_run=dry_run, as_json=as_json)
        return
    if options["model"] is None:
        raise click.MissingParameter(
            ctx=ctx, param=next(param for param in ctx.command.params if param.name == "model")
        )
    for name in ("token_ids", "documents"):
        if options[name] is not None:
            raise InputError(f"--{name.replace('_', '-')}: applies to --activations only; leave it out")
    if options["plan"]:
        from harvest.plan.command import plan_harvest
        from harvest.plan.text import describe

        planned = plan_harvest(ctx, options)
        click.echo(json_text(planned.to_json()) if as_json else describe(planned))
        return
    from harvest.prepare import prepare

    stopping: StopRequest = ctx.obj
    prepared = prepare(options, stop=stopping.event)
    if dry_run:
        from harvest.estimate import estimate

        estimated = estimate(prepared)
        click.echo(json_text(estimated.to_json()) if as_json else estimated.describe())
        return
    outcome = prepared.run()
    if outcome.store.complete and prepared.worker.reports:
        speed = dict[str, float | None]()
        if prepared.finished is None:
            speed = {"tokens_per_second": outcome.tokens_per_second, "compile_seconds": outcome.compile_seconds}
        _print_summary(outcome.store, as_json=as_json, **speed)


def _store_arrays(ctx: click.Context, options: dict[str, Any], *, dry_run: bool, as_json: bool) -> None:
    """Do what `store_arrays` does. Raises InputError, also for options that only a language model has."""
    defaults = {
        name: parameter.default for name, parameter in signature(store_arrays).parameters.items() if name != "quiet"
    }
    check_no_effect(ctx, "with --activations", *(name for name in options if name not in defaults))
    values = {name: options[name] if is_given(ctx, name) else default for name, default in defaults.items()}
    from harvest.arrays.prepare import prepare_arrays

    stopping: StopRequest = ctx.obj
    prepared = prepare_arrays(values, stop=stopping.event)
    if dry_run:
        from harvest.output.store_size import store_size

        size = store_size(prepared.out, prepared.schema)
        click.echo(json_text(size.to_json()) if as_json else size.describe())
        return
    _print_summary(prepared.run(), as_json=as_json)


def _print_summary(store: Store, *, as_json: bool, **speed: float | None) -> None:
    """Print what a store holds; speed: that of the harvest that has just ended."""
    from data.summary import summarize
    from data.summary_text import summary_text

    summary = summarize(store)
    click.echo(json_text(asdict(summary) | speed) if as_json else summary_text(summary, **speed))
