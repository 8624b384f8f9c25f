"""What a command imports before its options are parsed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(("name", "n_commands"), [("harvest", 1), ("train", 1), ("analyze", 12)])
def test_help_and_unparsable_options_import_no_slow_library(name: str, n_commands: int) -> None:
    calls = [["--help"], ["--no-such-option"], ["--device", "abacus"]]
    arguments = [name, json.dumps(sorted(SLOW)), json.dumps(calls)]
    done = subprocess.run([sys.executable, "-c", CALLS, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"[] {len(calls) * n_commands}"
