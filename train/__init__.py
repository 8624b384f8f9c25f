"""Stage two: train SAEs from a store (data/), without the language model. See `train --help`.

from train import load_sae, BaselineSAE, NSAE
"""

from typing import TYPE_CHECKING

from data.system.lazy import attributes

__all__ = ["NSAE", "SAE", "BaselineSAE", "load_sae"]

if TYPE_CHECKING:
    from train.output.load import load_sae
    from train.sae import NSAE, SAE, BaselineSAE

__getattr__ = attributes(
    __name__, {"NSAE": "train.sae", "SAE": "train.sae", "BaselineSAE": "train.sae", "load_sae": "train.output.load"}
)
