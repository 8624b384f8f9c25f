"""The command group `analyze`."""

from __future__ import annotations

import click

from analyze.commands import model, pages, runs, store
from data.command.base import HelpfulGroup


@click.group(cls=HelpfulGroup)
def main() -> None:
    """Analyse activation stores, and runs trained on them."""


for command in (
    store.store_command, store.norms_command, store.verify_command, runs.runs_command, runs.measures_command,
    runs.dictionary_command, runs.stability_command, model.patch_command, model.pareto_command,
    pages.report_command, pages.features_command,
):  # fmt: skip
    main.add_command(command)
