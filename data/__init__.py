"""The activation store: reading, writing, and the shuffled stream of training batches. data/FORMAT.md is normative.

    from data import open_store, ShuffledStream

    store = open_store("data/gpt2.zarr")
    with ShuffledStream(store, batch_size=4096) as stream:
        batch = next(stream)                     # [4096, layers, d]

The package imports no other package of this project. A folder `data/` or a file `data.py` next to your notebook hides
it: run Python from elsewhere, or rename yours.
"""

from typing import TYPE_CHECKING

from data.errors import DamagedError, InputError, RecycledError, StoreError
from data.system.lazy import attributes

__all__ = [
    "ActivationSource", "DamagedError", "FileCache", "InputError", "RecycledError", "ShuffledStream", "Store",
    "StoreError", "SyntheticFeatures", "Truth", "open_store", "synthetic_source", "write_store",
]  # fmt: skip

if TYPE_CHECKING:
    from data.shuffle.stream import ShuffledStream
    from data.store.reader import Store, open_store
    from data.store.truth import Truth
    from data.store.writing.write import ActivationSource, write_store
    from data.synthetic.features import SyntheticFeatures
    from data.synthetic.source import synthetic_source
    from data.system.file_cache import FileCache

__getattr__ = attributes(
    __name__,
    {
        "ActivationSource": "data.store.writing.write",
        "FileCache": "data.system.file_cache",
        "ShuffledStream": "data.shuffle.stream",
        "Store": "data.store.reader",
        "SyntheticFeatures": "data.synthetic.features",
        "Truth": "data.store.truth",
        "open_store": "data.store.reader",
        "synthetic_source": "data.synthetic.source",
        "write_store": "data.store.writing.write",
    },
)
