"""The command `train export`."""

from __future__ import annotations

from pathlib import Path

import click

from data.command.base import InterruptibleCommand
from data.command.option_types import LayerChoice, Layers, LocalPath, OutputFolder

FORMATS = ("saelens", "dictionary-learning", "sparsify", "saebench", "safetensors")  # registry.py, without PyTorch


@click.command(
    "export", cls=InterruptibleCommand,
    epilog="Example: train export runs/demo/topk_k=32 --to saelens --out exported",
)  # fmt: skip
@click.argument("run", metavar="RUN", type=LocalPath())
@click.option(
    "--to", type=click.Choice(FORMATS), required=True, help="The library to write for; safetensors: plain tensors."
)
@click.option("--out", type=OutputFolder(), required=True, help="Folder to write into: a folder per hook.")
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

    for folder in export_run(run, to=to, out=out, layers=layers):
        click.echo(folder)
