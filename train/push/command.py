"""The command `train push`."""

from __future__ import annotations

from pathlib import Path

import click

from data.command.base import InterruptibleCommand
from data.command.option_types import NAME, LocalPath


@click.command(
    "push", cls=InterruptibleCommand, epilog="Example: train push runs/demo/topk_k=32 --to user/demo-saes --dry-run"
)
@click.argument("path", metavar="RUN", type=LocalPath())
@click.option("--to", type=NAME, required=True, help="Repository on the Hugging Face hub, such as user/repo.")
@click.option("--private", is_flag=True, help="Create a private repository.")
@click.option("--revision", type=NAME, default="main", help="Branch to write to.  [default: main]")
@click.option(
    "--licence", "--license", type=NAME, default=None, help="Licence of the weights, such as mit or cc-by-4.0."
)
@click.option(
    "--report", type=LocalPath(), default=None,
    help="Folder of a report, whose measures with intervals the model card shows.  [default: the last measures of "
    "training]",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the model card and the list of files, without using the network.")
def push_command(
    path: Path, to: str, private: bool, revision: str, licence: str | None, report: Path | None, dry_run: bool
) -> None:
    """Publish RUN on the Hugging Face hub, from which `load_sae` reads it.

    RUN: the folder of a finished run, or of an experiment, whose finished runs then have a folder each. Needs a token
    that may write, from `hf auth login` or HF_TOKEN.
    """
    from train.push.push import prepare_push

    push = prepare_push(path, to, licence=licence, report=report, branch=revision)
    for name in push.diverged:
        click.echo(f"Note: the run {name} diverged and is left out", err=True)
    if dry_run:
        click.echo(push.card)
        for name, size in push.sizes().items():
            click.echo(f"{name}: {size:,} bytes")
        return
    commit = push.upload(private=private, branch=revision)
    click.echo(commit.url if commit.changed else f"{to} has these files already, in commit {commit.revision}")
    for address in push.addresses:
        click.echo(address)
