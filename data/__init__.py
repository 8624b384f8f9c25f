"""The activation store: format, writer, reader and shuffled stream. Imports nothing else of this project.

    from data import open_store, ShuffledStream

FORMAT.md is normative. A folder `data/` or a file `data.py` of your own beside a notebook hides this package: run
Python from elsewhere, or rename yours.
"""

from typing import TYPE_CHECKING

from data.errors import InputError, StoreError
from data.system.lazy import attributes

__all__ = ["InputError", "ShuffledStream", "Store", "StoreError", "open_store"]

if TYPE_CHECKING:
    from data.shuffle.stream import ShuffledStream
    from data.store.reader import Store, open_store

__getattr__ = attributes(
    __name__, {"Store": "data.store.reader", "open_store": "data.store.reader", "ShuffledStream": "data.shuffle.stream"}
)
