"""The architectures, one file each. A new one is a file with a subclass of `SAE`, and a line here."""

from train.sae.base import PARAMETERS, SAE, Gradients
from train.sae.baseline import BaselineSAE
from train.sae.nsae import NSAE

ARCHITECTURES: dict[str, type[SAE]] = {
    BaselineSAE.variant: BaselineSAE,
    NSAE.variant: NSAE,
}

__all__ = ["ARCHITECTURES", "NSAE", "PARAMETERS", "SAE", "BaselineSAE", "Gradients"]
