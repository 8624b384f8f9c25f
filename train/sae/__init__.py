"""The SAE architectures, one file each, and the table of them.

An architecture that differs from the others in its activation, its start and its constraint alone is a file with a
subclass of `SAE` and an entry in ARCHITECTURES. base.py lists what a subclass can and cannot state.
"""

from train.sae.base import PARAMETERS, SAE, Gradients
from train.sae.baseline import BaselineSAE
from train.sae.nsae import NSAE

ARCHITECTURES: dict[str, type[SAE]] = {
    BaselineSAE.variant: BaselineSAE,
    NSAE.variant: NSAE,
}

__all__ = ["ARCHITECTURES", "NSAE", "PARAMETERS", "SAE", "BaselineSAE", "Gradients"]
