"""Tables of what each option of a command does with bad values, and the checks that run them in this process.

A table has a row for each parameter of a command and each kind of bad value. A row says what is refused and with which
sentence, or that the value works, or (None) that an option of this type has no such value. A parameter without rows, or
a row without a parameter, fails the test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from click.testing import CliRunner, Result

from tests.options.kinds import Kind
from tests.options.rows import Row, Rows


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


class Watched:
    """A folder in which no file may change; compared after each case, and read once per comparison."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, files_below(folder)

    def check(self) -> None:
        """Assert that nothing below the folder has changed since the last call."""
        before, self.files = self.files, files_below(self.folder)
        assert self.files == before


def files_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and time of change of all files below a folder by path, and (0, 0) for folders."""
    entries_by_path: dict[str, tuple[int, int]] = {}
    folders = [str(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                    entries_by_path[entry.path] = (0, 0)
                else:
                    about = entry.stat()
                    entries_by_path[entry.path] = (about.st_size, about.st_mtime_ns)
    return entries_by_path


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
    arguments = [*([] if row.alone else base_beside(row, table.base)), *more, *row.arguments]
    return CliRunner().invoke(table.command, filled(arguments, places))


def base_beside(row: Row, base: Sequence[str]) -> list[str]:
    """Return the base without its --variant if the row has one, because a list may be given once."""
    if "--variant" not in row.arguments or "--variant" not in base:
        return list(base)
    place = base.index("--variant")
    return [*base[:place], *base[place + 2 :]]


def check(table: Table, name: str, kind: Kind, places: Mapping[str, str], watched: Watched) -> None:
    """Run a row, and assert that its values are refused in one sentence, or work, and that no file has changed."""
    row = table.rows[name][kind]
    assert row is not None
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
    watched.check()


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
