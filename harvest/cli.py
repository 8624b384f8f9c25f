"""The command `harvest`."""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from data.choices import COMPRESSIONS, DTYPES
from data.command.base import StoppableCommand, choose_device
from data.command.json_text import json_text
from data.command.option_types import NAME, SEED, Count, LayerChoice, Layers, Several, StoreLocation, shown
from data.command.stop import StopRequest
from data.errors import InputError
from data.system.location import Location

# The model's libraries take seconds to import: not for --help, nor for a mistake in the options.
if TYPE_CHECKING:
    from data.summary import StoreSummary
    from harvest.model.base import ModelFacts
    from harvest.request import Request

CONTEXT_SIZE = 256  # the post's
TIMED_BATCHES = 3


class Token(click.ParamType[str]):
    """A token that is put between texts: `none`, `bos`, `eos` or an id."""

    name = "token"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in ("none", "bos", "eos") and not re.fullmatch("[0-9]{1,18}", str(value)):
            self.fail(f"{value!r} is no token; give none, bos, eos or a token's number", param, ctx)
        return str(value)


class HookName(click.ParamType[str]):
    """The name of a hook, short (`mlp_out`) or within its block (`attn.hook_z`)."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,99}", str(value)):
            self.fail(f"{shown(value)} is no name of a hook; give mlp_out, resid_post or another", param, ctx)
        return str(value)


class HeldOutContexts(click.ParamType[float | int]):
    """A share with a percent sign (float), or a number of contexts (int)."""

    name = "share or count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | int:
        if isinstance(value, int | float):
            return value
        if re.fullmatch(r"[0-9]{0,9}\.?[0-9]{1,9}%", str(value)):
            return float(value[:-1]) / 100
        if "." in str(value) or str(value).endswith("%"):
            self.fail(f"{shown(value)} is no share; give a number and a percent sign, such as 1%", param, ctx)
        return Count(zero=True).convert(value, param, ctx)


EXAMPLES = """\b
Examples:
  harvest --model demo --tokens 200k                      no network, no GPU: the embedded model and text
  harvest --model gpt2 --tokens 100M                      the post's run: GPT-2 small on the Pile, all 12 layers
  harvest --model gpt2 --tokens 10M --layers 0,5,11 --dtype bfloat16
  harvest --model ./my-model --dataset ./texts --tokens 1M --dry-run
  harvest --model gpt2 --out s3://bucket/gpt2.zarr        an object store; needs the package s3fs
"""


@click.command(cls=StoppableCommand, epilog=EXAMPLES)
@click.option("--model", type=NAME, required=True, help="Hub name, local directory in hub format, or `demo`.")
@click.option("--revision", type=NAME, help="Branch, tag or commit of the model on the hub.")
@click.option("--tokens", type=Count(), default="100M", show_default=True, help="Rounded down to whole contexts.")
@click.option(
    "--dataset",
    type=NAME,
    help="Hub name, local file or folder, or `demo`. [default: monology/pile-uncopyrighted; for demo, demo]",
)
@click.option("--dataset-config", type=NAME, help="Configuration of a hub dataset.")
@click.option("--dataset-split", type=NAME, help="Split of a hub dataset, a saved DatasetDict, or a folder whose files "
              "are named after splits. [default: train]")  # fmt: skip
@click.option("--text-column", type=NAME, help="Column of text, or of token ids. [default: text, else input_ids]")
@click.option("--out", type=StoreLocation(), help="The store: a folder, or s3://… [default: data/MODEL.zarr]")
@click.option("--layers", type=LayerChoice(), default="all", show_default=True,
              help="`all`, or numbers and ranges: 0,5,8-11; 3- is 3 to the end.")  # fmt: skip
@click.option("--hook", type=Several(HookName(), "name"), default="mlp_out", show_default=True,
              help="mlp_out, resid_pre, resid_post, attn_out or any "
              "hook of the model's (TransformerLens's names); several with commas.")  # fmt: skip
@click.option("--dtype", type=click.Choice(DTYPES), default="float16", show_default=True)
@click.option("--compress", type=click.Choice(COMPRESSIONS), default="none", show_default=True)
@click.option("--context-size", type=Count(),
              help="Tokens per context. [default: 256, or as many as the model takes where that is fewer]")  # fmt: skip
@click.option("--batch-size", type=Count(), default="16", show_default=True, help="Contexts a forward pass.")
@click.option("--skip-positions", type=Count(zero=True), default=0, show_default=True,
              help="How many first positions of each context are not stored.")  # fmt: skip
@click.option("--prefix-token", type=Token(), default="none", show_default=True,
              help="Before each context: none, bos, eos or an id.")  # fmt: skip
@click.option("--separator-token", type=Token(),
              help="After each document of text: eos, bos, none or an id. [default: eos]")  # fmt: skip
@click.option("--special-tokens", type=click.Choice(["text", "parse"]), help="Text that spells a special token, such "
              "as </s>: ordinary text, or that token. [default: text]")  # fmt: skip
@click.option("--held-out", "heldout", type=HeldOutContexts(), help="Contexts for validation: a share (1%) or a "
              "number. [default: 1%, at least 200, at most a tenth]")  # fmt: skip
@click.option("--processing", type=click.Choice(["centred", "none"]), default="centred", show_default=True,
              help="Centre the weights that write to the residual stream, as the post's library does.")  # fmt: skip
@click.option("--precision", type=click.Choice(["float32", "tf32", "bfloat16"]), default="float32", show_default=True,
              help="Of the model's products; the error against float32 is measured and kept in the store.")  # fmt: skip
@click.option("--compile", "compiling", type=click.Choice(["auto", "yes", "no"]), default="auto", show_default=True,
              help="Compile the forward pass (auto: on a GPU, from 20M tokens on, where a compiler is).")  # fmt: skip
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the shuffle of rows over shards.")
@click.option("--overwrite", is_flag=True, help="Replace an existing store.")
@click.option("--dry-run", is_flag=True, help="Say what would be written and how long it would take; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.pass_obj
def main(
    stopping: StopRequest, model: str, revision: str | None, tokens: int, dataset: str | None,
    dataset_config: str | None, dataset_split: str | None, text_column: str | None, out: Location | None,
    layers: Layers, hook: tuple[str, ...], dtype: Any, compress: Any, context_size: int | None, batch_size: int,
    skip_positions: int, prefix_token: str, separator_token: str | None, special_tokens: Any, heldout: Any,
    processing: Any, precision: Any, compiling: Any, device: str, seed: int,
    overwrite: bool, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run a language model once and store its activations, for training SAEs on them as often as you like.

    A stopped harvest (Ctrl-C, SIGTERM, a crash) is continued by the same command.
    """
    from data.store.writing.lifecycle import staging_path
    from data.summary import summarize
    from data.system.allocator import keep_large_blocks
    from harvest.disk_space import check_free_space
    from harvest.harvest import run
    from harvest.inputs import open_inputs
    from harvest.memory import check_batch
    from harvest.model.find import find_model
    from harvest.model.precision import Compute
    from harvest.overwrite import tidy
    from harvest.request import Request, check_request, expected_schema
    from harvest.resume import check_existing, check_out
    from harvest.text.sources import THE_PILE, DatasetChoice
    from harvest.worker import Worker

    facts = find_model(model, revision)
    dataset = dataset or ("demo" if model == "demo" else THE_PILE)
    out = out or Path("data") / f"{facts.label.split('/')[-1]}.zarr"
    check_out(out, overwrite=overwrite)
    context_size = context_size or min(CONTEXT_SIZE, facts.max_context or CONTEXT_SIZE)
    request = Request(
        model=model, revision=revision, n_tokens=tokens,
        dataset=DatasetChoice(dataset, dataset_config, dataset_split, text_column),
        layers=layers.choose(range(facts.n_layers), facts.label), hooks=short_names(hook), dtype=dtype,
        compression=compress, context_size=context_size, batch_size=batch_size, skip_positions=skip_positions,
        prefix=prefix_token, separator=separator_token, special_tokens=special_tokens, heldout=heldout,
        processing=processing, seed=seed,
        compute=Compute(precision, compiling),
    )  # fmt: skip
    torch_device = choose_device(device)
    check_request(request, facts)
    request.compute.check(torch_device)
    check_batch(request, facts, torch_device)
    schema = expected_schema(request, facts)
    check_free_space(out, schema)
    inputs = open_inputs(request, facts)
    settings = inputs.settings(request)
    finished = check_existing(out, settings, overwrite=overwrite)
    if dry_run:
        show_plan(request, facts, out, torch_device, as_json)
        return
    if finished is not None:
        tidy(finished)
        click.echo(f"{out} is complete; nothing to do", err=True)
        show(summarize(finished), as_json)
        return
    worker = Worker.from_environment()
    if overwrite and worker.world_size > 1:
        raise InputError(f"--overwrite: several processes would race; remove {out} and {staging_path(out)} first")
    if torch_device.type == "cpu":
        keep_large_blocks()
    outcome = run(
        request, inputs, settings, out, device=torch_device, worker=worker, stop=stopping.event, overwrite=overwrite
    )
    if outcome.text_ended:
        have = outcome.store.layout.n_contexts * context_size
        click.echo(f"the text ended early: {have:,} tokens stored of the {tokens:,} asked for", err=True)
    if worker.rank == 0:
        speed = {"tokens_per_second": outcome.tokens_per_second, "compile_seconds": outcome.compile_seconds}
        show(summarize(outcome.store), as_json, **speed)


def show(summary: StoreSummary, as_json: bool, **speed: float | None) -> None:
    """Print a store's summary, with the speed of the harvest that wrote it, if one did."""
    from data.summary_text import summary_text

    click.echo(json_text(asdict(summary) | speed) if as_json else summary_text(summary, **speed))


def show_plan(request: Request, facts: ModelFacts, out: Location, device: Any, as_json: bool) -> None:
    """Print what a harvest would write, and how long it would take at the speed of a few batches."""
    from data.command.sizes import human_bytes
    from harvest.disk_space import free_bytes, needed_bytes
    from harvest.request import expected_schema, widths_are_known

    schema = expected_schema(request, facts)
    need, free = needed_bytes(out, schema), free_bytes(out)
    rate = measure_rate(request, facts, device)
    seconds = request.n_tokens / rate
    if as_json:
        plan = {
            "out": str(out), "rows": schema.layout.n_rows, "hooks": len(schema.hooks), "dtype": schema.dtype,
            "bytes": schema.total_bytes(), "bytes_needed": need, "bytes_free": free, "files": schema.n_files(),
            "tokens_per_second": rate, "seconds": seconds, "widths_known": widths_are_known(request),
        }  # fmt: skip
        click.echo(json_text(plan))
        return
    click.echo(
        f"{out}: {schema.layout.n_rows:,} rows × {len(schema.hooks)} hooks in {schema.dtype}, "
        f"{human_bytes(schema.total_bytes())} in about {schema.n_files():,} files "
        f"({human_bytes(need)} needed here on the way, {human_bytes(free)} free)\n"
        f"about {seconds / 3600:.2f} hours at {rate:,.0f} tokens/s, tokenising left out"
    )
    if not widths_are_known(request):
        click.echo("hooks other than the standard ones are counted as d_model wide")


def measure_rate(request: Request, facts: ModelFacts, device: Any) -> float:
    """Tokens a second of the forward pass, on random tokens."""
    import numpy as np
    import torch

    from harvest.harvest import load_for

    model = load_for(request, facts, device)
    shape = (request.batch_size, request.context_size)
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, facts.vocab_size, shape)).to(device)
    seconds = []
    for _ in range(TIMED_BATCHES):
        begin = time.perf_counter()
        model.capture(tokens, lambda name, value: None)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return float(tokens.numel() / min(seconds))


def short_names(hooks: tuple[str, ...]) -> tuple[str, ...]:
    """Names of hooks without TransformerLens's `hook_`, each once."""
    return tuple(dict.fromkeys(name.removeprefix("hook_") for name in hooks))
