"""Stage one: run a language model once and keep its activations in a store. See `harvest --help`.

from harvest import harvest
"""

from typing import TYPE_CHECKING

from data.system.lazy import attributes

__all__ = ["harvest"]

if TYPE_CHECKING:
    from harvest.api import harvest

__getattr__ = attributes(__name__, {"harvest": "harvest.api"})
