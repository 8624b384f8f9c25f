"""Run a script in a process that a zygote forks, where a fresh interpreter would only import PyTorch again."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.helpers.processes.zygote import Zygote


def printed(zygote: Zygote, folder: Path, script: str, *arguments: object) -> str:
    """Return what a script prints, run in the working directory `folder`; it must succeed."""
    ended = zygote.run("tests.helpers.processes.script:execute", script, *arguments, folder=folder)
    assert ended.code == 0, ended.stderr
    return ended.stdout


def execute(script: str, *arguments: str) -> None:
    sys.argv[1:] = arguments
    exec(script, {"__name__": "__main__"})
