"""The code that all SAE architectures share. train/architectures has the architectures.

base.py           SAE: what every architecture states, and its loss
initialise.py     the random draws with which its tensors begin
tensors.py        the shapes of its tensors, and their gradients
elementwise.py    the kind of baseline and nsae: an elementwise activation and L1, with gradients written by hand
pairwise.py       the kind of the others: a loss on selected entries of the pre-activations
selection.py      which entries those are
entries.py        how a loss is written on them
"""

from train.sae.base import SAE, LossInputs, TrainingPass
from train.sae.elementwise import ElementwiseSAE
from train.sae.pairwise import PairwiseSAE
from train.sae.tensors import Gradients, TensorSpec

__all__ = ["SAE", "ElementwiseSAE", "Gradients", "LossInputs", "PairwiseSAE", "TensorSpec", "TrainingPass"]
