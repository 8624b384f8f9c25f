"""The start of a command before its options are parsed: imports, help, the version, shell completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.helpers.fixture_types import Command

SLOW = {"torch", "matplotlib", "scipy", "transformers", "transformer_lens", "datasets", "numpy", "zarr"}

# Calls the command with each list of arguments in one process, then prints which of the slow libraries are imported.
CALLS = """
import json, sys
from importlib import import_module
command = import_module(sys.argv[1] + ".cli").main
slow, calls = set(json.loads(sys.argv[2])), json.loads(sys.argv[3])
calls += [[name, *call] for name in getattr(command, "commands", {}) for call in calls]
for call in calls:
    try:
        command(call, prog_name=sys.argv[1])
    except SystemExit as end:
        assert end.code == (0 if call[-1] == "--help" else 2), (call, end.code)
print(json.dumps(sorted(slow & {name.split(".")[0] for name in sys.modules})), len(calls))
"""


@pytest.mark.parametrize(("name", "n_commands"), [("harvest", 1), ("train", 1), ("analyze", 14)])
def test_help_and_unparsable_options_import_no_slow_library(name: str, n_commands: int) -> None:
    calls = [["--help"], ["--no-such-option"], ["--device", "abacus"]]
    arguments = [name, json.dumps(sorted(SLOW)), json.dumps(calls)]
    done = subprocess.run([sys.executable, "-c", CALLS, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"[] {len(calls) * n_commands}"


def start(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as its console script does, in a process of its own."""
    command = [sys.executable, "-m", name, *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, encoding="utf-8", check=True)


@pytest.mark.parametrize("name", ["harvest", "train", "analyze"])
def test_h_prints_help_and_version_prints_the_package_version(name: str, command: Command) -> None:
    for arguments in ([], ["patch"]) if name == "analyze" else ([],):
        assert command(name, *arguments, "-h").stdout == command(name, *arguments, "--help").stdout
        assert command(name, *arguments, "--version").stdout == f"nsae-pipeline {version('nsae-pipeline')}\n"


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", "cp1252"])
def test_help_prints_in_any_encoding(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "train", "--help"], capture_output=True, check=True,
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    shown = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)
    assert "Sparsity coefficient" in shown
    assert ("α" if encoding == "ascii" else "\\u03b1") in shown


@pytest.mark.parametrize(("name", "option"), [("harvest", "--tokens"), ("train", "--variant"), ("analyze", "patch")])
def test_shells_complete_options(name: str, option: str) -> None:
    variable = f"_{name.upper()}_COMPLETE"
    assert f"{variable}=bash_complete" in start(name, **{variable: "bash_source"}).stdout
    words = {"COMP_WORDS": f"{name} {option[:4]}", "COMP_CWORD": "1"}
    assert f"plain,{option}\n" in start(name, **{variable: "bash_complete"}, **words).stdout
