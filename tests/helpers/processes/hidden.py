"""Run a command in a process in which some modules cannot be imported."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from types import ModuleType


class Hidden(MetaPathFinder):
    """Finds no module, and refuses those that are hidden, as if they were not installed."""

    def __init__(self, modules: set[str]) -> None:
        self.modules = modules

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name.partition(".")[0] in self.modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def run_without(modules: str, name: str, *arguments: str) -> None:
    """Run the command `name`; `modules` is a JSON list of the hidden ones, none of which may be imported already."""
    hidden = set(json.loads(modules))
    assert not hidden & {module.partition(".")[0] for module in sys.modules}
    sys.meta_path.insert(0, Hidden(hidden))
    import_module(f"{name}.cli").main(arguments, prog_name=name)
