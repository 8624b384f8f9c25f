"""The activation store: format, writer, reader and shuffled stream. Imports nothing else of this project.

    from data import open_store, ShuffledStream

FORMAT.md is normative. A folder `data/` or a file `data.py` of your own beside a notebook hides this package: run
Python from elsewhere, or rename yours.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from data.errors import InputError, StoreError

__all__ = ["InputError", "ShuffledStream", "Store", "StoreError", "open_store"]

# What needs PyTorch, two seconds of imports, is imported when it is asked for: a command's --help needs none of it.
LAZY = {"Store": "data.reader", "open_store": "data.reader", "ShuffledStream": "data.stream"}
if TYPE_CHECKING:
    from data.reader import Store, open_store
    from data.stream import ShuffledStream


def __getattr__(name: str) -> Any:
    if name in LAZY:
        return getattr(import_module(LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
