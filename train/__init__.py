"""Stage two: train SAEs from a store (data/), without the language model. See `train --help`.

from train import load_sae, BaselineSAE, NSAE
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["NSAE", "SAE", "BaselineSAE", "load_sae"]

LAZY = {"NSAE": "train.sae", "SAE": "train.sae", "BaselineSAE": "train.sae", "load_sae": "train.load"}  # as in data
if TYPE_CHECKING:
    from train.load import load_sae
    from train.sae import NSAE, SAE, BaselineSAE


def __getattr__(name: str) -> Any:
    if name in LAZY:
        return getattr(import_module(LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
