"""Tables of what each option of a command does with bad values, and the checks that run them in this process.

A table has a row for each parameter of a command and each kind of bad value. A row says what is refused and with which
sentence, or that the value works, or (None) that an option of this type has no such value. A parameter without rows, or
a row without a parameter, fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import click
from click.testing import CliRunner, Result

LONG = "x" * 300  # longer than a file's name may be


class Kind(StrEnum):
    """What may be wrong with a value."""

    WRONG_TYPE = "wrong type"
    EMPTY = "empty"
    ZERO = "zero"
    NEGATIVE = "negative"
    HUGE = "huge"
    NAN = "NaN"
    ABSENT = "absent"
    WRONG_KIND = "wrong kind"
    NO_RIGHTS = "no rights"
    CONTRADICTION = "contradiction"


@dataclass(frozen=True)
class Row:
    """Arguments after the table's base, and the sentence that refuses them; None: they work.

    `alone`: the arguments come without the base.
    """

    arguments: tuple[str, ...]
    sentence: str | None
    alone: bool = False


Rows = dict[Kind, Row | None]


@dataclass(frozen=True)
class Table:
    """All rows of a command. `trial`: the flag that checks everything and does nothing, where there is one."""

    command: click.Command
    base: Sequence[str]
    rows: Mapping[str, Rows]
    trial: str | None = None
    works_with: Sequence[str] = field(default=())  # added to the arguments that work

    def cases(self) -> Iterator[tuple[str, Kind]]:
        """The rows that are run."""
        for name, rows in self.rows.items():
            for kind, row in rows.items():
                if row is not None:
                    yield name, kind

    def missing(self) -> list[str]:
        """Parameters without a row of each kind, and rows without a parameter."""
        names = {str(param.name) for param in self.command.params}
        lacking = [f"{name}: {kind}" for name in names & set(self.rows) for kind in Kind if kind not in self.rows[name]]
        return sorted([*(names ^ set(self.rows)), *lacking])


def refused(*arguments: str, sentence: str, alone: bool = False) -> Row:
    return Row(arguments, sentence, alone)


def works(*arguments: str, alone: bool = False) -> Row:
    return Row(arguments, None, alone)


def valued(flag: str, values: Mapping[Kind, tuple[str, str | None] | Row | None]) -> Rows:
    """Rows of an option with a value: kind → (value, sentence), a row of its own, or None."""
    rows: Rows = dict.fromkeys(Kind)
    rows[Kind.ABSENT] = Row((flag,), "requires an argument")
    for kind, value in values.items():
        rows[kind] = Row((flag, value[0]), value[1]) if isinstance(value, tuple) else value
    return rows


More = tuple[str, str | None] | Row | None


def count(flag: str, more: Mapping[Kind, More] | None = None) -> Rows:
    """Rows of an option of type Count."""
    no = "whole number; write 100M, 1.5k, 1e6 or 2_000_000"
    return valued(
        flag,
        {
            Kind.WRONG_TYPE: ("x", no), Kind.EMPTY: ("", no), Kind.ZERO: ("0", no), Kind.NEGATIVE: ("-1", no),
            Kind.HUGE: ("1e30", "'1e30' is too much; give at most"), Kind.NAN: ("nan", no),
            Kind.WRONG_KIND: ("1.5", no), **(more or {}),
        },
    )  # fmt: skip


def number(flag: str, more: Mapping[Kind, More] | None = None) -> Rows:
    """Rows of an option of type Number that must be greater than 0."""
    no = "is not a number; give one that is"
    return valued(
        flag,
        {
            Kind.WRONG_TYPE: ("x", no), Kind.EMPTY: ("", no), Kind.ZERO: ("0", no), Kind.NEGATIVE: ("-1", no),
            Kind.HUGE: ("1e999", no), Kind.NAN: ("nan", no), Kind.WRONG_KIND: ("1;2", no), **(more or {}),
        },
    )  # fmt: skip


def list_rows(rows: Rows, flag: str, twice: str) -> Rows:
    """Rows of an option with several values, from those of one value; `twice` is a value, which may be given once."""
    return {
        **rows,
        Kind.EMPTY: Row((flag, f"{twice},,{twice}"), "has an empty part"),
        Kind.CONTRADICTION: Row((flag, f"{twice},{twice}"), f"has {twice} twice; give each once"),
    }


def choice(flag: str, more: Mapping[Kind, More] | None = None) -> Rows:
    """Rows of an option with a few values."""
    no = "is not one of"
    values = {
        Kind.WRONG_TYPE: "5", Kind.EMPTY: "", Kind.ZERO: "0", Kind.NEGATIVE: "-1", Kind.HUGE: LONG, Kind.NAN: "nan",
        Kind.WRONG_KIND: "AUTO",
    }  # fmt: skip
    return valued(flag, {**{kind: (value, no) for kind, value in values.items()}, **(more or {})})


def flag(name: str, contradiction: Row | None = None) -> Rows:
    """Rows of a flag."""
    rows: Rows = dict.fromkeys(Kind)
    for kind, value in ((Kind.WRONG_TYPE, "5"), (Kind.EMPTY, ""), (Kind.HUGE, LONG)):
        rows[kind] = Row((f"{name}={value}",), "does not take a value")
    rows[Kind.CONTRADICTION] = contradiction
    return rows


def text(flag: str, unknown: str, more: Mapping[Kind, More] | None = None) -> Rows:
    """Rows of an option of type Text, of which no value is known: `unknown` is the sentence for that."""
    return valued(
        flag,
        {
            Kind.WRONG_TYPE: ("a\0b", "the value has a zero byte"), Kind.EMPTY: ("", "the value is empty"),
            Kind.ZERO: ("0", unknown), Kind.NEGATIVE: ("-1", unknown), Kind.NAN: ("nan", unknown),
            Kind.HUGE: (LONG, "is longer than a file's name may be"), Kind.WRONG_KIND: ("{folder}/x.toml", unknown),
            **(more or {}),
        },
    )  # fmt: skip


def layers(owner: str, n: int = 2) -> Rows:
    """Rows of `--layers`, of an owner with n layers."""
    no = "give `all`, or numbers and ranges such as 0,5,8-11 or 3-"
    return valued(
        "--layers",
        {
            Kind.WRONG_TYPE: ("a", no), Kind.EMPTY: ("", no), Kind.ZERO: ("0", None), Kind.NEGATIVE: ("-1", no),
            Kind.HUGE: ("0-999999999999", f"--layers 0-999999999999: {owner} has no layer {n}"), Kind.NAN: ("nan", no),
            Kind.WRONG_KIND: ("7-", f"--layers 7-: {owner} has no layer 7"),
            Kind.CONTRADICTION: ("1-0", "1-0 is an empty range; write 0-1"),
        },
    )  # fmt: skip


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """All that is below a folder: path → size and time of change, (0, 0) for folders."""
    found = {path: path.stat() for path in folder.rglob("*")}
    return {str(p): (0, 0) if p.is_dir() else (about.st_size, about.st_mtime_ns) for p, about in found.items()}


def filled(arguments: Sequence[str], places: Mapping[str, str]) -> list[str]:
    """Arguments with {store} and the like in them filled in."""
    result = []
    for argument in arguments:
        for name, place in places.items():
            argument = argument.replace("{" + name + "}", place)
        result.append(argument)
    return result


def run(table: Table, row: Row, places: Mapping[str, str], *, trial: bool) -> Result:
    """Run a row's command line, with the table's trial flag or without."""
    more = [*(table.works_with if row.sentence is None else ()), *([table.trial] if trial and table.trial else ())]
    arguments = [*([] if row.alone else table.base), *more, *row.arguments]
    return CliRunner().invoke(table.command, filled(arguments, places))


def check(table: Table, name: str, kind: Kind, places: Mapping[str, str], folder: Path) -> None:
    """Run a row, and assert that its values are refused in one sentence, or work, and that no file has changed."""
    row = table.rows[name][kind]
    assert row is not None
    before = snapshot(folder)
    if row.sentence is None:
        done = run(table, row, places, trial=True)
        assert done.exception is None, (done.stderr, done.exception)
    else:
        param = next(param for param in table.command.params if param.name == name)
        option = str(param.metavar) if isinstance(param, click.Argument) else max(param.opts, key=len)
        named = [
            option,
            name,
            "the folders of runs",
            *(argument for argument in filled(row.arguments, places) if argument),
        ]
        for trial in (True, False) if table.trial else (False,):
            check_refused(run(table, row, places, trial=trial), named, filled([row.sentence], places)[0])
    assert snapshot(folder) == before


def check_refused(done: Result, named: Sequence[str], sentence: str) -> None:
    """Assert exit code 2, and one line that begins with `Error:` after click's usage at most.

    It says `sentence`, and has one of `named` in it: the option, or what was given.
    """
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 2, done.output
    *usage, error = done.stderr.strip().splitlines()
    assert all(line.startswith(("Usage: ", "Try '")) or not line.strip() for line in usage), done.stderr
    assert error.startswith("Error: "), done.stderr
    assert sentence in error, f"{error}\ndoes not say: {sentence}"
    assert any(name in error for name in named), f"{error}\nnames none of {named}"
    assert not done.stdout
