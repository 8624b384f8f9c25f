"""Stage two: train SAEs from a store (data/), without the language model. See `train --help`.

from train import load_sae, BaselineSAE, NSAE
"""

from train.load import load_sae
from train.sae import NSAE, SAE, BaselineSAE

__all__ = ["NSAE", "SAE", "BaselineSAE", "load_sae"]
