"""Trying an output before any work."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from analyze.cli import main as analyze
from data.command.base import StoreCommand, explanation
from data.command.option_types import LocalPath, StoreLocation
from data.command.stop import TRY_AGAIN
from data.command.writable import check_writable
from data.errors import InputError
from tests.helpers.fixture_types import Command, MakeStore


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder without the right to write; root, which needs no rights, is nobody meanwhile."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)


@pytest.mark.parametrize("kind", [LocalPath(), StoreLocation()])
def test_relative_paths_convert_to_absolute_ones_with_a_name(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock and unfinished parts lie beside it."""
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert [kind.convert(path, None, None) for path in (".", "./", "..")] == [Path.cwd()] * 2 + [tmp_path]


@pytest.mark.parametrize("name", [".", "new", "new/deeper"])
def test_check_writable_accepts_a_writable_folder_and_leaves_no_file(tmp_path: Path, name: str) -> None:
    check_writable(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_check_writable_tries_a_relative_folder_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_writable(Path("runs/new"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file", "file/inner", "link", "link/inner"])
def test_check_writable_refuses_a_file_or_broken_link_in_the_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    with pytest.raises(InputError, match=r"^--out .* is not a folder; choose another --out$"):
        check_writable(tmp_path / name)


@pytest.mark.parametrize("name", [".", "new"])
def test_check_writable_refuses_a_read_only_folder(read_only: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"^--out .*: nothing can be written there \(Permission denied\)"):
        check_writable(read_only / name)


def test_check_writable_refuses_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long"):
        check_writable(tmp_path / ("x" * 300))


WRITING = [name for name, command in analyze.commands.items() if any(p.name == "out" for p in command.params)]


@pytest.mark.parametrize("name", WRITING)
def test_analyze_checks_its_output_before_opening_store_or_runs(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    more = {"norms": [], "export": ["--to", "saelens"]}.get(name, [str(tmp_path / "no-runs")])
    out = str(tmp_path / "file" / "out")
    done = CliRunner().invoke(analyze, [name, "--store", str(tmp_path / "no-store"), *more, "--out", out])
    assert done.exit_code == 2
    assert f"--out {out}: {tmp_path / 'file'} is not a folder; choose another --out" in done.stderr


def test_output_check_covers_every_analyze_command_that_writes() -> None:
    assert set(WRITING) == {"norms", "export", "dictionary", "pareto", "report", "features"}


def test_harvest_and_train_check_their_output_before_any_work(
    command: Command, make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, _ = make_store()
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    monkeypatch.setattr("harvest.inputs.open_source", None)  # neither the text is opened
    monkeypatch.setattr("train.prepare.make_plan", None)
    for done in (
        command("harvest", "--model", "demo", "--tokens", "20k", "--out", out),
        command("harvest", "--model", "demo", "--tokens", "20k", "--out", out, "--dry-run"),
        command("train", "--store", store.path, "--variant", "nsae", "--batch-size", "64", "--activations", "640",
                "--out", out),
    ):  # fmt: skip
        assert done.returncode == 2
        assert f"--out {out}: {tmp_path / 'file'} is not a folder" in done.stderr


def test_harvest_into_an_object_store_reports_an_unwritable_working_directory(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").touch()
    monkeypatch.chdir(tmp_path)
    done = command("harvest", "--model", "demo", "--tokens", "20k", "--out", "memory://bucket/demo.zarr")
    assert done.returncode == 2
    assert "--out memory://bucket/demo.zarr: its unfinished parts lie in data/" in done.stderr
    assert done.stderr.endswith("start the command in a folder that can be written\n")


def test_permission_error_names_the_file_in_one_sentence(read_only: Path) -> None:
    @click.command(cls=StoreCommand)
    def write() -> None:
        (read_only / "file").write_bytes(b"1")

    done = CliRunner().invoke(write)
    assert done.exit_code == 2
    assert done.stderr == f"Error: {read_only / 'file'}: Permission denied; change its rights, or choose another\n"


def test_check_writable_reports_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)  # where the system has no files without names
    with pytest.raises(InputError, match="No space left on device") as caught:
        check_writable(tmp_path)
    assert explanation(caught.value)[1] == TRY_AGAIN
    assert not list(tmp_path.iterdir())
