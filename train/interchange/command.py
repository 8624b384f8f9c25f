"""The commands `train export` and `train import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from data.command.base import InterruptibleCommand
from data.command.layer_choice import LayerChoice, Layers
from data.command.option_types import NAME, LocalPath, OutputFolder, StoreLocation
from data.system.location import Location

ONE_NUMBER = ("none", "mean-norm", "sqrt-d", "mean-square", "mean-square-d")  # of --input-scale: one per hook
FORMATS = ("saelens", "dictionary-learning", "sparsify", "saebench", "safetensors")  # registry.py, without PyTorch


@click.command(
    "export", cls=InterruptibleCommand,
    epilog="Example: train export runs/demo/topk_k=32 --to saelens --out exported",
)  # fmt: skip
@click.argument("run", metavar="RUN", type=LocalPath())
@click.option(
    "--to", type=click.Choice(FORMATS), required=True, help="The library to write for; safetensors: plain tensors."
)
@click.option("--out", type=OutputFolder(), required=True, help="The new folder to write: a folder per hook.")
@click.option(
    "--layers", type=LayerChoice(), default=None,
    help="Layers to export: `all`, or numbers and ranges such as 0,5,8-11.  [default: all SAEs of the run]",
)  # fmt: skip
def export_command(run: Path, to: str, out: Path, layers: Layers | None) -> None:
    """Write the SAEs of RUN as another library loads them.

    RUN: the folder of a run, of one of its checkpoints, or of a snapshot. docs/interchange.md says which architectures
    each library has.
    """
    from train.interchange.export import export_run

    exported = export_run(run, to=to, out=out, layers=layers)
    if exported.unfinished is not None:
        click.echo(f"Note: {run}: {exported.unfinished}", err=True)
    for folder in exported.folders:
        click.echo(folder)


@click.command(
    "import", cls=InterruptibleCommand,
    epilog="Example: train import theirs --store data/gpt2.zarr --out runs/theirs",
)  # fmt: skip
@click.argument("path", metavar="PATH", type=NAME)
@click.option("--revision", type=NAME, default=None, help="Branch, tag or commit of a repository on the hub.")
@click.option("--store", type=StoreLocation(), required=True, help="The store that the SAE is to be measured on.")
@click.option("--out", type=OutputFolder(), required=True, help="The run's folder, which must not exist yet.")
@click.option(
    "--hook", type=NAME, default=None,
    help="The store's hook that the SAE is for, such as mlp_out or blocks.5.hook_mlp_out.  [default: as its files say]",
)  # fmt: skip
@click.option(
    "--input-scale", type=click.Choice(ONE_NUMBER), default=None,
    help="Scale that the SAE's inputs are divided by, as in `train --input-scale`.  [default: as its files say]",
)  # fmt: skip
def import_command(
    path: str, revision: str | None, store: Location, out: Path, hook: str | None, input_scale: Any
) -> None:
    """Write the SAE in PATH as the folder of a run, which `analyze` measures on the store.

    PATH: a folder of SAELens, dictionary_learning, sparsify, Gemma Scope, Llama Scope or `train export`, a folder of
    such folders, or a checkpoint file of the post's author; or its name on the Hugging Face hub, as user/repo/folder.
    No code in the files is run.
    """
    from train.interchange.import_run import import_run

    run = import_run(path, store=store, out=out, hook=hook, input_scale=input_scale, revision=revision)
    for fit in run.fits:
        click.echo(fit.sentence())
        if (warning := fit.warning()) is not None:
            click.echo(f"Warning: {warning}", err=True)
    for note in run.notes:
        click.echo(f"Note: {note}", err=True)
