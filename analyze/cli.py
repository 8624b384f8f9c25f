"""The command group `analyze`."""

from __future__ import annotations

import click

from analyze.commands import compare, features, model, report, runs, store
from data.command.base import HelpfulGroup
from data.errors import InputError
from train.plugins import load_plugin


@click.group(cls=HelpfulGroup)
@click.option(
    "--plugin", multiple=True, metavar="MODULE:CLASS",
    help="An architecture of another package that runs were trained with, as `train --variant` named it.",
)  # fmt: skip
def main(plugin: tuple[str, ...]) -> None:
    """Analyse activation stores, and runs trained on them."""
    for variant in plugin:
        try:
            load_plugin(variant)
        except InputError as error:
            raise click.UsageError(str(error).replace("--variant", "--plugin")) from error


for command in (
    store.store_command, store.norms_command, store.export_command, store.verify_command, runs.runs_command,
    runs.measures_command, runs.dictionary_command, runs.stability_command, model.patch_command, model.pareto_command,
    compare.compare_command, report.report_command, features.features_command,
):  # fmt: skip
    main.add_command(command)
