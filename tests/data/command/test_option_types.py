"""The values that types of options accept, and their names in --help."""

from __future__ import annotations

import click
import pytest

import analyze.cli
import harvest.cli
import train.cli
from data.command.option_types import SEED, Count, Number, Size


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("200G", 200 * 10**9), ("1.5TB", 1500 * 10**9), ("500 MB", 500 * 10**6), ("1e9", 10**9), ("2_000B", 2000)],
)
def test_size_is_a_number_of_bytes_with_a_unit_or_without(text: str, n_bytes: int) -> None:
    assert Size()(text) == n_bytes


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Number(0, above=True), "-3", "'-3' is not greater than 0"), (Number(0), "-3", "'-3' is less than 0"),
        (Number(0, above=True), "x", "'x' is not a number; give one that is greater than 0"),
        (Number(0, 1), "1.5", "'1.5' is too much; give at most 1"), (Count(), "0", "'0' is less than 1"),
        (Count(zero=True), "-5k", "'-5k' is less than 0"), (Count(), "2.5", "'2.5' is not a positive whole number"),
        (Count(), "x", "'x' is not a positive whole number; write 8, 1.5k, 100M, 1e6 or 2_000_000"),
    ],
)  # fmt: skip
def test_refused_number_is_said_to_be_too_small_too_large_or_no_number(
    kind: click.ParamType[float], text: str, message: str
) -> None:
    with pytest.raises(click.BadParameter) as refusal:
        kind(text)
    assert refusal.value.message == message


def metavar(command: click.Command, name: str) -> str:
    (param,) = [param for param in command.params if param.name == name]
    return param.make_metavar(click.Context(command))


def test_help_shows_the_values_of_a_choice_that_may_be_a_list_or_differ_per_variant() -> None:
    assert metavar(train.cli.main, "log") == "[tensorboard|wandb]"
    assert metavar(train.cli.main, "aux_decoder") == "[stopped|trained]"


def test_all_commands_name_seeds_and_sizes_alike() -> None:
    features = analyze.cli.main.commands["features"]
    seeds = [metavar(command, "seed") for command in (train.cli.main, harvest.cli.main, features)]
    assert {*seeds, SEED.name.upper()} == {"INTEGER"}
    sizes = {metavar(train.cli.main, "cache_size"), metavar(harvest.cli.main, "keep"), metavar(features, "size_limit")}
    assert sizes == {"SIZE"}
