"""The code that all SAE architectures share. train/architectures has the architectures.

base.py           SAE: what every architecture states, and its loss
training_pass.py  what a loss depends on, and what a forward pass in training returns
initialise.py     the random draws with which its tensors begin
tensors.py        the shapes of its tensors, and their gradients
elementwise.py    the kind of baseline and nsae: an elementwise activation and L1, with gradients written by hand
pairwise.py       the kind of the others: a loss on selected entries of the pre-activations
selection.py      which entries those are
entries.py        how a loss is written on them
batch_split.py    the part of a batch that a rank steps on, and the sums over the whole batch
"""

from train.sae.base import SAE
from train.sae.elementwise import ElementwiseSAE
from train.sae.pairwise import PairwiseSAE
from train.sae.tensors import Gradients, TensorSpec
from train.sae.training_pass import LossInputs, TrainingPass

__all__ = ["SAE", "ElementwiseSAE", "Gradients", "LossInputs", "PairwiseSAE", "TensorSpec", "TrainingPass"]
