"""Stage one: run a language model once and keep its activations in a store. See `harvest --help`.

from harvest import harvest, store_arrays
"""

from typing import TYPE_CHECKING

from data.system.lazy import attributes

__all__ = ["export_activations", "harvest", "store_arrays"]

if TYPE_CHECKING:
    from harvest.api import harvest
    from harvest.arrays.api import store_arrays
    from harvest.arrays.export import export_activations

__getattr__ = attributes(
    __name__,
    {
        "export_activations": "harvest.arrays.export",
        "harvest": "harvest.api",
        "store_arrays": "harvest.arrays.api",
    },
)
