"""An option that takes a list is refused if it is given twice: click by itself would take the last list alone."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

import analyze.cli
import harvest.cli
import train.cli
from data.command.layer_choice import LayerChoice
from data.command.option_types import Boolean, Count, ListOf, Number
from train.command.per_variant import PerVariant

COMMANDS: dict[str, click.Command] = {
    "train": train.cli.main, "harvest": harvest.cli.main,
    **{f"analyze {name}": command for name, command in analyze.cli.main.commands.items()},
}  # fmt: skip


def lists() -> Iterator[tuple[str, str, str]]:
    """Yield each command, each of its options that takes a list, and a value of it."""
    for name, command in COMMANDS.items():
        for param in command.params:
            kind = param.type.values_type if isinstance(param.type, PerVariant) else param.type
            if isinstance(param, click.Option) and isinstance(kind, (ListOf, LayerChoice)):
                yield name, max(param.opts, key=len), value_of(kind.element if isinstance(kind, ListOf) else kind)


def value_of(kind: click.ParamType[object]) -> str:
    if isinstance(kind, click.Choice):
        return str(kind.choices[0])
    values = {Count: "1", LayerChoice: "1", Number: "0.5", Boolean: "true"}
    return values.get(type(kind), "nsae")


@pytest.mark.parametrize(("command", "option", "value"), lists())
def test_option_with_a_list_is_refused_if_it_is_given_twice(command: str, option: str, value: str) -> None:
    done = CliRunner().invoke(COMMANDS[command], [option, value, f"{option}={value}"])
    assert done.exit_code == 2
    last = done.stderr.splitlines()[-1]
    assert last == f"Error: Invalid value for '{option}': is given twice; give all values at once, with commas"


def test_options_with_lists_are_found_in_all_three_commands() -> None:
    options = {(command, option) for command, option, _ in lists()}
    assert {("train", "--variant"), ("train", "--k"), ("train", "--log"), ("harvest", "--hook")} <= options
    assert {("analyze features", "--numbers"), ("analyze stability", "--layers"), ("harvest", "--layers")} <= options
