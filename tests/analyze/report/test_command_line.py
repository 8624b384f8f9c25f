"""The command in the report that repeats it."""

from __future__ import annotations

import sys

import pytest

from analyze.commands.report import command_line


@pytest.mark.parametrize(("arguments", "model", "shown"), [
    (["--model", "/home/someone/models/tiny", "runs"], "/home/someone/models/tiny", "--model tiny runs"),
    (["--model=/home/someone/models/tiny", "runs"], "/home/someone/models/tiny", "--model=tiny runs"),
    (["--model", "models/tiny", "runs"], "models/tiny", "--model models/tiny runs"),
    (["runs"], None, "runs"),
])  # fmt: skip
def test_command_has_the_name_alone_of_a_models_absolute_path(
    arguments: list[str], model: str | None, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["analyze", "report", *arguments])
    assert command_line(model) == f"analyze report {shown}"
